"""The peers: what they are, where they come from, how they are set up once. Debian's packages and Go modules,
no others.

Go's results are kept in ~/.cache/mirror-run/bench, for they take minutes to build; what the building needs is
thrown away.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TIMED = Path(__file__).with_name("timed.h")

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "mirror-run" / "bench"

PACKAGES = {
    "slirp4netns": "slirp4netns",
    "pasta": "passt",
    "ip": "iproute2",
    "nft": "nftables",
    "nsenter": "util-linux",
    "gcc": "gcc",
}
"""Command: Debian package."""

SING_BOX = ("github.com/sagernet/sing-box/cmd/sing-box", "v1.14.1", ["-tags", "with_gvisor"])
GOREPLAY = ("github.com/buger/goreplay", "v1.3.2", [])


def set_up(*, with_go: bool) -> dict[str, str]:
    """Install what is missing. Returns each peer's version, for the record."""
    missing = sorted({package for command, package in PACKAGES.items() if shutil.which(command) is None})
    if with_go and not Path("/usr/include/pcap.h").exists():
        missing.append("libpcap-dev")
    if missing:
        install(missing)
    versions = {command: _version(PACKAGES[command]) for command in ("slirp4netns", "pasta")}
    if with_go:
        if shutil.which("go") is None:
            raise SystemExit("sing-box and goreplay are built from Go modules: install Go, or give --no-go")
        for module in (SING_BOX, GOREPLAY):
            versions[Path(module[0]).name] = module[1]
            go_program(module)
    return versions


def go_program(module: tuple[str, str, list[str]]) -> Path:
    """The program of a Go module, built if it is not there in this version."""
    package, version, flags = module
    program = CACHE / version / Path(package).name
    if program.exists():
        return program
    program.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="mirror-run-go-") as away:
        env = dict(
            os.environ, GOPATH=f"{away}/path", GOCACHE=f"{away}/cache", GOBIN=f"{away}/bin", CGO_ENABLED="1"
        )
        env["GOFLAGS"] = env.get("GOFLAGS", "") + " -modcacherw"
        subprocess.run(
            ["nice", "go", "install", "-trimpath", "-ldflags=-s -w", *flags, f"{package}@{version}"],
            env=env,
            check=True,
        )
        shutil.move(Path(away, "bin", Path(package).name), program)
    return program


def compiled(name: str, sources: list[Path], words: list[str], watched: list[Path]) -> Path:
    """A program or library, made once for each text of its sources: several trees share the folder."""
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted({*sources, *watched})))
    made = CACHE / f"{name}-{digest.hexdigest()[:16]}"
    if not made.exists():
        made.parent.mkdir(parents=True, exist_ok=True)
        partial = made.with_suffix(f".{os.getpid()}")
        command = ["gcc", "-std=gnu11", "-D_GNU_SOURCE", "-O2", f"-I{ROOT}", f"-I{ROOT / 'native'}"]
        subprocess.run([*command, "-o", str(partial), *map(str, sources), *words], check=True)
        partial.rename(made)
    return made


def load_program() -> Path:
    """load.c."""
    return compiled("load", [TIMED.with_name("load.c")], [], [TIMED])


def install(packages: list[str]) -> None:
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise SystemExit(f"please install: {' '.join(packages)}")
    env = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    subprocess.run(["apt-get", "update", "-qq"], env=env, check=True)
    subprocess.run(
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages], env=env, check=True
    )


def _version(package: str) -> str:
    if shutil.which("dpkg-query") is None:
        return "unknown"
    words = ["dpkg-query", "-W", "-f", "${Version}", package]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout or "unknown"
