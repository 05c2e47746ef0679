"""Unpacks lwIP's sources from the distribution's source package; the machine's own package lists are not touched.

    python3 images/fetch_lwip.py [--out DIR]        (DIR: build/lwip)

lwIP is compiled with our options (``layer/netstack/lwipopts.h``), which no binary package has. apt checks what it
loads: the archive's signature covers the index, the index the package. Runs in the image build and on a
developer's machine. Only the standard library and apt are used.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

UPSTREAM = re.compile(r"2\.(1\.[3-9]|2\.)")
"""Versions whose internals the netstack knows."""


def source_entries(etc: Path = Path("/etc/apt")) -> str:
    """This machine's binary entries as ``deb-src`` entries of one-line style (sources.list(5)), comments left out."""
    lines: list[str] = []
    for path in [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]:
        if not path.is_file():
            continue
        text = path.read_text(errors="replace")
        if path.suffix == ".sources":
            lines += from_stanzas(text)
        elif path.suffix == ".list":
            lines += [
                re.sub(r"^deb\s", "deb-src ", line) for line in text.splitlines() if line.startswith("deb ")
            ]
    # An entry of another vendor's archive without sources would fail the update: only Debian-like components.
    kept = [
        line
        for line in lines
        if re.search(r"\s(main|universe)(\s|$)", line) and "debian-security" not in line
    ]
    distribution = [line for line in kept if re.search(r"/(debian|ubuntu)[^ ]*/?\s", line)]
    if not distribution:
        sys.exit("fetch_lwip: /etc/apt names no Debian or Ubuntu archive; put lwIP 2.1.3 or 2.2 into build/lwip")
    return "\n".join(distribution) + "\n"


def from_stanzas(text: str) -> list[str]:
    """deb822 stanzas as one-line entries."""
    lines = []
    for stanza in re.split(r"\n\s*\n", text):
        plain = "\n".join(line for line in stanza.splitlines() if not line.startswith("#"))
        fields = {
            key.lower(): " ".join(value.split())
            for key, value in re.findall(r"^([A-Za-z-]+):((?:.*)(?:\n[ \t].*)*)", plain, flags=re.MULTILINE)
        }
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes") == "no":
            continue
        signed = fields.get("signed-by", "")
        option = f"[signed-by={signed}] " if signed.startswith("/") else ""
        lines += [
            f"deb-src {option}{uri} {suite} {fields.get('components', 'main')}"
            for uri in fields.get("uris", "").split()
            for suite in fields.get("suites", "").split()
        ]
    return lines


def fetch(out: Path) -> None:
    """Leaves lwIP's tree at ``out``, whole or not at all."""
    with tempfile.TemporaryDirectory(prefix="mirror-run-lwip-") as scratch:
        work = Path(scratch)
        (work / "lists" / "partial").mkdir(parents=True)
        (work / "cache" / "archives" / "partial").mkdir(parents=True)
        (work / "download").mkdir()
        (work / "sources.list").write_text(source_entries())
        options = [
            f"-oDir::Etc::SourceList={work / 'sources.list'}",
            "-oDir::Etc::SourceParts=-",
            f"-oDir::State::Lists={work / 'lists'}",
            f"-oDir::Cache={work / 'cache'}",
            "-oAcquire::Languages=none",
            "-oAcquire::IndexTargets::deb-src::Contents-deb::DefaultEnabled=false",
            "-oAPT::Sandbox::User=root" if os.geteuid() == 0 else "-oDebug::NoLocking=true",
        ]
        run(["apt-get", "-qq", *options, "update"], work)
        run(["apt-get", "-qq", *options, "--only-source", "source", "lwip"], work / "download")
        trees = [
            path
            for path in (work / "download").glob("lwip-*")
            if (path / "src" / "include" / "lwip").is_dir()
        ]
        if len(trees) != 1:
            sys.exit("fetch_lwip: the source package did not unpack to one lwip-VERSION tree")
        version = trees[0].name.removeprefix("lwip-")
        if not UPSTREAM.match(version):
            sys.exit(f"fetch_lwip: the distribution has lwIP {version}; the netstack knows 2.1.3 and 2.2")
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(out, ignore_errors=True)
        half = out.with_name(out.name + ".partial")
        shutil.rmtree(half, ignore_errors=True)
        shutil.copytree(trees[0], half, symlinks=True)
        half.rename(out)
        print(f"fetch_lwip: lwIP {version} in {out}", file=sys.stderr)


def run(command: list[str], cwd: Path) -> None:
    """Runs it quietly; its output is shown only when it failed."""
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        sys.stderr.write(done.stdout.decode(errors="replace"))
        sys.exit(f"fetch_lwip: {command[0]} failed ({done.returncode}): {' '.join(command[-2:])}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent.parent / "build" / "lwip")
    out: Path = parser.parse_args().out
    if not (out / "src" / "include" / "lwip" / "init.h").is_file():
        fetch(out)


if __name__ == "__main__":
    main()
