"""The cluster's one executable and its sandbox image: built when their sources changed, kept by their hash.

A cold build compiles three thousand packages: 6 to 8 minutes and 2 GB on two cores. Its build cache (2.7 GB) is thrown
away with it; a change of main.go alone is rare enough to pay for.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import golang
from tests.cluster.archive import docker_archive
from tests.cluster.places import CACHE, HERE

SOURCES = HERE / "kube"
PAUSE = "mirror-run-test/pause:1"
KEPT = 2
"""Builds that stay: somebody switches between two branches."""


@dataclass(frozen=True, slots=True)
class Built:
    kube: Path
    pause: Path
    """A docker-archive of the image PAUSE."""


def digest() -> str:
    """Of all that the build is made from."""
    total = hashlib.sha256()
    for path in sorted(path for path in SOURCES.rglob("*") if path.is_file()):
        total.update(f"{path.relative_to(SOURCES)}\0".encode() + path.read_bytes() + b"\0")
    return total.hexdigest()[:16]


def ensure(say: Callable[[str], None]) -> Built:
    folder = CACHE / "built" / digest()
    built = Built(folder / "kube", folder / "pause.tar")
    if not folder.is_dir():
        _build(folder, say)
        _prune(folder)
    return built


def _build(folder: Path, say: Callable[[str], None]) -> None:
    go = golang.ensure()
    folder.parent.mkdir(parents=True, exist_ok=True)
    say("compiling Kubernetes, etcd and CoreDNS into one executable: 6 to 8 minutes, once")
    # Beside where it goes, so that the rename at the end is one: who finds the folder finds all of it.
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="making-") as made:
        out = Path(made, "out")
        out.mkdir()
        _compile(go, out / "kube", ".", cache=made, stamp=release())
        _compile(go, out / "pause", "./pause", cache=made)
        (out / "pause.tar").write_bytes(
            docker_archive(PAUSE, {"pause": (out / "pause").read_bytes()}, ["/pause"])
        )
        out.rename(folder)


def release() -> str:
    """The version of Kubernetes that go.mod names; the programs compare theirs, and v0.0.0 fits nobody's."""
    found = re.search(r"^\tk8s\.io/kubernetes (v\S+)$", (SOURCES / "go.mod").read_text(), re.MULTILINE)
    assert found, "go.mod names no version of k8s.io/kubernetes"
    return found[1]


def _compile(go: str, out: Path, package: str, cache: str, stamp: str = "") -> None:
    flags = ["-s", "-w"]
    for variable in ("k8s.io/component-base/version.gitVersion", "k8s.io/client-go/pkg/version.gitVersion"):
        flags += ["-X", f"{variable}={stamp}"] if stamp else []
    environment = os.environ | {
        "CGO_ENABLED": "0",
        "GOCACHE": os.environ.get("MIRROR_RUN_TEST_GOCACHE")
        or f"{cache}/cache",  # theirs stays: for work on main.go
        "GOTMPDIR": cache,
        "GOFLAGS": "-mod=readonly -modcacherw",
        "GOTOOLCHAIN": "local",
    }
    command = [
        "nice",  # `make test` runs other tests meanwhile, and some of those measure time
        go,
        "build",
        "-trimpath",
        "-gcflags=all=-dwarf=false",
        "-ldflags",
        " ".join(flags),
        "-o",
        str(out),
        package,
    ]
    done = subprocess.run(command, cwd=SOURCES, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if not line.startswith("go: downloading")]
        raise RuntimeError("\n".join([f"go build {package} failed:", *said[-30:]]))


def _prune(newest: Path) -> None:
    folders = sorted(
        (path for path in newest.parent.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime
    )
    for path in folders[:-KEPT]:
        shutil.rmtree(path, ignore_errors=True)
