"""Every fuzzer there is, one after the other: fuzz_*.py (atheris) and fuzz_*.c (libFuzzer, ASan, UBSan;
clang).

    python3 tests/fuzz/run.py [--seconds 600] [NAME ...]

A C fuzzer names the files it is linked with in its first comment: ``Sources: native/span.c native/view.c``;
``native`` alone stands for all of native's, ``exchange`` for the gate's that know no socket, ``sieve``
for a mirror's, ``http`` for what both know of HTTP. Corpora grow in
build/fuzz/NAME, findings land beside them; the exit code is 1 if there was one.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
OUT = ROOT / "build" / "fuzz"

sys.path.insert(0, str(ROOT))

from native import sources as native  # noqa: E402 - the tree is on the path only now

SANITIZERS = (
    "-O1",
    "-g",
    "-fno-omit-frame-pointer",
    "-fsanitize=fuzzer,address,undefined",
    "-fno-sanitize-recover=all",
)


HTTP = ("agent/http/*.c",)
EXCHANGE = ("agent/gate/exchange*.c", "agent/gate/http*.c", *HTTP)
SIEVE = ("agent/sieve*.c", *HTTP)
MADE_OF = {"exchange": EXCHANGE, "sieve": SIEVE, "http": HTTP}
HTTP_CXX = "agent/http/pattern.cc"
HTTP_LIBRARIES = ("-lre2", "-lnghttp2", "-lstdc++")


def fuzzers() -> list[str]:
    """Their file names, sorted."""
    return sorted(path.name for path in HERE.glob("fuzz_*") if path.suffix in (".py", ".c"))


def linked_with(source: Path) -> tuple[list[str], list[str]]:
    """Absolute paths of the C and C++ files that a C fuzzer asks for, and libraries."""
    named = re.search(r"Sources: ([^*]+?)(?:\.\s|\*/|\n \*\n|$)", source.read_text(encoding="utf-8"))
    if named is None:
        raise SystemExit(f"{source.name} does not say what it is linked with: 'Sources: native/span.c …'")
    found: list[str] = []
    libraries: list[str] = []
    for word in named[1].replace("*", " ").split():
        if word in MADE_OF:
            found += [str(path) for pattern in MADE_OF[word] for path in sorted(ROOT.glob(pattern))]
            found.append(str(ROOT / HTTP_CXX))
            libraries = [*HTTP_LIBRARIES]
        else:
            found += native.sources() if word == "native" else [str(ROOT / word)]
    return list(dict.fromkeys(found)), libraries


@cache
def compiled(source: str, out: Path) -> str:
    """An object in ``out``. Most files are linked into several fuzzers, and a process compiles each once."""
    out.mkdir(parents=True, exist_ok=True)
    made = out / (os.path.relpath(source, ROOT).replace("/", "-") + ".o")
    sanitizers = [option.replace("=fuzzer,", "=fuzzer-no-link,") for option in SANITIZERS]
    includes = [f"-I{ROOT}", *(f"-I{folder}" for folder in native.include_dirs())]
    compiler = ["clang++"] if source.endswith(".cc") else ["clang", "-std=gnu11", *native.DEFINES]
    subprocess.run([*compiler, *includes, *sanitizers, "-c", source, "-o", str(made)], check=True)
    return str(made)


def command(name: str, out: Path = OUT, objects: Path = OUT / "objects") -> list[str]:
    """The command line that runs a fuzzer, compiled first if it is in C; without libFuzzer's options and
    corpus.
    """
    source = HERE / name
    if source.suffix == ".py":
        return [sys.executable, "-m", f"tests.fuzz.{source.stem}"]
    if shutil.which("clang") is None:
        raise SystemExit("C fuzzers need clang")
    out.mkdir(parents=True, exist_ok=True)
    program = out / source.stem
    sources, libraries = linked_with(source)
    parts = [compiled(path, objects) for path in (str(source), *sources)]
    words = ["clang", *SANITIZERS, *parts, *libraries, "-lpthread", "-o", str(program)]
    subprocess.run(words, check=True)
    return [str(program)]


def run(
    name: str, *options: str, out: Path = OUT, objects: Path = OUT / "objects"
) -> subprocess.CompletedProcess[str]:
    """One fuzzer to its end; what it said is in stderr."""
    corpus = out / f"corpus-{Path(name).stem}"
    corpus.mkdir(parents=True, exist_ok=True)
    words = [*command(name, out, objects), *options, f"-artifact_prefix={out}/", str(corpus)]
    seeds = HERE / "seeds" / Path(name).stem  # what was found once
    words += [str(seeds)] if seeds.is_dir() else []
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)


def main() -> None:
    """All of them, or those named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=int, default=600, help="for each (600)")
    parser.add_argument("names", nargs="*", help="as fuzz_frames, all by default")
    options = parser.parse_args()
    failed = []
    for name in fuzzers():
        if options.names and Path(name).stem not in options.names:
            continue
        print(f"{name}: {options.seconds} s", flush=True)
        done = run(name, f"-max_total_time={options.seconds}", "-max_len=70000", "-print_final_stats=1")
        print(
            "\n".join(done.stderr.splitlines()[-12:] if done.returncode == 0 else [done.stderr[-6000:]]),
            flush=True,
        )
        if done.returncode:
            failed.append(name)
    if failed:
        sys.exit(f"findings: {', '.join(failed)}; see build/fuzz")


if __name__ == "__main__":
    main()
