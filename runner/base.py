"""The base image: Debian 12, pulled where a registry answers within seconds, else made on this machine by mmdebstrap.

A machine may have an engine and no registry (offline, a company's rules); Debian's packages are then the only source
that is needed. What is made is cached under a tag that names its recipe.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import queue
import re
import shutil
import subprocess
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from runner.errors import Refusal
from runner.labels import IMAGE

log = logging.getLogger(__name__)

Progress = Callable[[str], None]

REPOSITORY, TAG = "debian", "bookworm-slim"
PULLED = f"{REPOSITORY}:{TAG}"
SUITE = "bookworm"

FIRST_WORD_WITHIN = 10.0
"""Seconds in which a registry must begin to answer. A firewalled one says nothing at all."""

MOVES_WITHIN = 60.0
"""Seconds of silence after which a pull that had begun is given up."""

CHUNK = 1 << 20
"""Octets of the archive sent at a time."""

LINE = 300
"""Characters of a line of another program's that are quoted: dpkg's may be ten thousand long."""

WITHOUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")

OPTIONS = (
    "--variant=minbase",
    "--include=ca-certificates",
    *(f"--dpkgopt=path-exclude={path}" for path in WITHOUT),
    '--aptopt=APT::Install-Recommends "false"',
    '--aptopt=Acquire::Languages "none"',
)

CHANGES = ('CMD ["bash"]', f"LABEL {IMAGE}=base")
"""Dockerfile instructions for the import. The label is not the containers' ROLE: what is made FROM this inherits it."""

MADE = "mirror-run/base:" + hashlib.sha256("\n".join((SUITE, *OPTIONS, *CHANGES)).encode()).hexdigest()[:12]


def ensure_base(api: Any, progress: Progress, arch: str = "") -> str:
    """The reference of a base image that this engine has now. Refusal if none can be had.

    ``api``: the Docker SDK's low-level client. Order: what is there already, a pull, mmdebstrap. ``arch``: of another
    kind of machine than the engine's ("arm64", as Debian and Docker both call it).
    """
    made = f"{MADE}-{arch}" if arch else MADE
    for reference in (made,) if arch else (made, PULLED):
        if api.images(filters={"reference": reference}):
            return reference
    progress(f"pulling {PULLED}" + (f" for {arch}" if arch else ""))
    failure = _pull_beside(api, arch, made) if arch else _pull(api)
    if not failure:
        return made if arch else PULLED
    log.info("%s could not be pulled: %s", PULLED, failure)
    _make(api, progress, failure, made, arch)
    return made


def _pull_beside(api: Any, arch: str, name: str) -> str:
    """Pulled for another kind of machine, as ``name``: the engine's own keeps the usual one. Empty, or why not."""
    before = api.images(filters={"reference": PULLED}, quiet=True)
    if failure := _pull(api, f"linux/{arch}"):
        return failure
    api.tag(PULLED, *name.split(":"))
    if before:
        api.tag(before[0], REPOSITORY, TAG, force=True)
    else:
        api.remove_image(PULLED)
    return ""


def _pull(api: Any, platform: str = "") -> str:
    """Empty when it was pulled, else why not."""
    said: queue.Queue[tuple[str, str]] = queue.Queue()

    def pull() -> None:
        try:
            for line in api.pull(REPOSITORY, tag=TAG, stream=True, decode=True, platform=platform or None):
                if "error" in line:
                    said.put(("failed", str(line["error"])))
                    return
                said.put(("moves", f"{line.get('id', '')} {line.get('status', '')}".strip()))
            said.put(("done", ""))
        except Exception as error:  # noqa: BLE001 - whatever it was, its meaning is: not pulled, because …
            said.put(("failed", str(getattr(error, "explanation", None) or error)))

    # A daemon: when the engine waits for a registry that never answers, nobody waits for the engine.
    threading.Thread(target=pull, name="pull", daemon=True).start()
    patience = FIRST_WORD_WITHIN
    while True:
        try:
            what, text = said.get(timeout=patience)
        except queue.Empty:
            return f"no answer from the registry within {patience:.0f} s"
        match what:
            case "done":
                return ""
            case "failed":
                return text
            case _:
                log.debug("pull: %s", text)
                patience = MOVES_WITHIN


def _make(api: Any, progress: Progress, failure: str, name: str, arch: str = "") -> None:
    tool = shutil.which("mmdebstrap")
    if not tool:
        raise Refusal(
            f"the base image {PULLED} could not be pulled ({failure}), and mmdebstrap is not here to make one",
            f"make a registry reachable, or `docker load` {PULLED}, or install mmdebstrap (Debian, Ubuntu)",
        )
    progress("making a base image of Debian packages (about 30 s, once)")
    with tempfile.TemporaryDirectory(prefix="mirror-run-base-") as scratch:
        archive = Path(scratch) / "base.tar"
        options = [*OPTIONS, f"--architectures={arch}"] if arch else OPTIONS
        command = [tool, "--quiet", *options, SUITE, str(archive), *own_sources()]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if arch and re.search(r"can neither be executed natively|cannot find \S*qemu", done.stderr):
            raise no_emulator(arch)
        if done.returncode:
            raise Refusal(
                f"no base image: {PULLED} could not be pulled ({failure}), and mmdebstrap failed: {_tail(done.stderr)}",
                "make a registry or a Debian mirror reachable; `mirror-run doctor` tells more",
            )
        progress("importing the base image")
        if arch:
            _load(api, archive, name, arch)
        else:
            _import(api, archive, name)
    if not api.images(filters={"reference": name}):
        raise Refusal("the engine did not take the base image that was made", "see the engine's own log")


def _import(api: Any, archive: Path, name: str) -> None:
    """An archive of a file system becomes an image (Docker Engine API, ImageCreate, fromSrc)."""
    repository, tag = name.split(":")
    with archive.open("rb") as stream:
        # In chunks: of a file the SDK states both its length and chunked encoding, which the engine cannot parse.
        chunks = iter(lambda: stream.read(CHUNK), b"")
        api.import_image_from_stream(chunks, repository=repository, tag=tag, changes=list(CHANGES))


def _load(api: Any, archive: Path, name: str, arch: str) -> None:
    """The same for another kind of machine. An import is always of the engine's own (seen with 20.10, whatever its
    ``platform``), so the image is put together here (Docker Image Specification v1.2) and loaded."""
    with archive.open("rb") as stream:
        layer = hashlib.file_digest(stream, "sha256").hexdigest()
    config = {
        "architecture": arch,
        "os": "linux",
        "config": {"Cmd": ["bash"], "Labels": {IMAGE: "base"}},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer}"]},
        "history": [{"created_by": "mmdebstrap"}],
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    whole = archive.with_name("image.tar")
    with tarfile.open(whole, "w") as tar:
        for file, content in {"config.json": config, "manifest.json": manifest}.items():
            octets = json.dumps(content).encode()
            entry = tarfile.TarInfo(file)
            entry.size = len(octets)
            tar.addfile(entry, io.BytesIO(octets))
        tar.add(archive, "layer.tar")
    with whole.open("rb") as stream:
        for line in api.load_image(iter(lambda: stream.read(CHUNK), b"")):
            if "error" in line:
                raise Refusal(
                    f"the engine did not take the base image: {line['error']}", "see the engine's own log"
                )


def no_emulator(arch: str) -> Refusal:
    """Building for another kind of machine takes running its programs."""
    return Refusal(
        f"this engine's machine cannot run programs of linux/{arch}, which building the agent's image for it takes",
        "install an emulator there: `docker run --privileged --rm tonistiigi/binfmt --install all`, "
        "or `apt install qemu-user-static` on Debian and Ubuntu",
    )


def own_sources(etc: Path = Path("/etc")) -> list[str]:
    """The files of this machine's package sources, if it is the same Debian (its mirror is then one that answers).

    Empty means: mmdebstrap's own default, the official archive.
    """
    release = _read(etc / "os-release")
    if not re.search(r"^ID=debian$", release, re.MULTILINE) or f"VERSION_CODENAME={SUITE}" not in release:
        return []
    files = [etc / "apt" / "sources.list", *sorted((etc / "apt" / "sources.list.d").glob("*"))]
    return [str(path) for path in files if path.suffix in {".list", ".sources"} and _is_of_suite(_read(path))]


def _is_of_suite(text: str) -> bool:
    """Does it name the suite itself (a vendor's "x-bookworm" is not it)?"""
    line = re.compile(rf"^(deb\s.*\s{SUITE}\s|Suites:(.*\s)?{SUITE}(\s|$))", re.MULTILINE)
    return bool(line.search(text))


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _tail(text: str, lines: int = 3) -> str:
    kept: Iterable[str] = [line[:LINE] for line in text.splitlines() if line.strip()][-lines:]
    return " / ".join(kept) or "it said nothing"
