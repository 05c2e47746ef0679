"""A target process with a root of its own, and the two halves of files between it and a door.

The target is user TARGET_UID, group TARGET_GID, with one group more and no capability, as a service in a container
may be.
"""

from __future__ import annotations

import itertools
import json
import os
import socket
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

from pyroute2 import netns

from tests.net.files.door import Door

ROOT = Path(__file__).resolve().parents[3]
OUT = ROOT / "build" / "tests" / "files"

TARGET_UID, TARGET_GID, TARGET_GROUP = 4321, 4322, 4323
APP_UID, APP_GID = 1000, 1001

OPTIMIZED = ("-O2",)
SANITIZED = ("-O1", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")

_spaces = itertools.count()

BECOME = """
import os, subprocess, sys
root, uid, gid, group = sys.argv[1], *map(int, sys.argv[2:])
subprocess.run(["mount", "--bind", root, root], check=True)
subprocess.run(["mount", "-t", "proc", "proc", root + "/proc"], check=True)
os.chroot(root)
os.chdir("/")
if uid:
    os.setgroups([gid, group])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
print("ready", flush=True)
sys.stdin.read()
"""


def build(name: str, flags: tuple[str, ...]) -> Path:
    """The harness with all of both halves and of native."""
    OUT.mkdir(parents=True, exist_ok=True)
    folders = (ROOT / "layer" / "files", ROOT / "agent" / "files", ROOT / "native")
    sources = [str(path) for folder in folders for path in sorted(folder.glob("*.c"))]
    sources += [str(ROOT / "agent" / name) for name in ("shaper.c", "bucket.c", "joint.c")]
    warnings = ["-Wall", "-Wextra", "-Wshadow", "-Wstrict-prototypes", "-Werror"]
    words = [
        "gcc",
        "-std=gnu11",
        "-g",
        "-D_GNU_SOURCE",
        "-DFILESYSTEM_PATIENCE=2000000000ull",
        *warnings,
        *flags,
        f"-I{ROOT}",
        f"-I{ROOT / 'native'}",
    ]
    program = OUT / name
    harness = ROOT / "tests" / "net" / "files" / "harness.c"
    subprocess.run([*words, "-o", str(program), str(harness), *sources, "-lpthread"], check=True)
    return program


def plant(root: Path) -> None:
    """What every target here has, for its user to read whatever the umask of who runs the tests."""
    before = os.umask(0o022)
    try:
        planted(root)
    finally:
        os.umask(before)


def planted(root: Path) -> None:
    """With the umask that is usual."""
    for folder in ("etc", "proc", "dev", "data", "many", "closed", "volume/..2024"):
        (root / folder).mkdir(parents=True)
    (root / "etc/hosts").write_text("198.18.0.1 target\n")
    (root / "etc/absolute").symlink_to("/etc/hosts")
    (root / "etc/out").symlink_to("/../../../../../etc/passwd")
    (root / "etc/loop").symlink_to("loop")
    (root / "etc/magic").symlink_to("/proc/self/root/etc/passwd")
    (root / "volume/..data").symlink_to("..2024")
    (root / "volume/token").symlink_to("..data/token")
    (root / "volume/..2024/token").write_text("first")
    (root / "data/large").write_bytes(os.urandom(1 << 20) * 9)
    (root / "data" / os.fsdecode(b"name-\xff\xfe")).write_text("not UTF-8")
    (root / "secret").write_text("of root alone")
    (root / "secret").chmod(0o600)
    (root / "grouped").write_text("of the group")
    os.chown(root / "grouped", 0, TARGET_GROUP)
    (root / "grouped").chmod(0o640)
    (root / "closed/inner").write_text("behind a closed folder")
    (root / "closed").chmod(0o700)
    os.mkfifo(root / "fifo", 0o666)
    os.mknod(root / "dev/null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    (root / "own").mkdir()
    os.chown(root / "own", TARGET_UID, TARGET_GID)


class Target:
    """The process; ``root`` is its root as the host sees it."""

    def __init__(self, root: Path, uid: int = TARGET_UID) -> None:
        self.root = root
        command = ["unshare", "--mount", "--propagation=private", "/usr/bin/python3", "-I", "-c", BECOME]
        numbers = [str(root), str(uid), str(TARGET_GID), str(TARGET_GROUP)]
        self._process = subprocess.Popen(
            [*command, *numbers], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        self.pid = self._process.pid

    def close(self) -> None:
        """Ends it."""
        self._process.communicate("", timeout=20)


class Files:
    """The harness, in a network namespace of its own. ``rate``: octets a second each way; 0: no limit."""

    def __init__(self, program: Path, pid: int, *, writes: bool = False, rate: int = 0) -> None:
        self.space = f"files-{os.getpid()}-{next(_spaces)}"
        subprocess.run(["ip", "netns", "add", self.space], check=True)
        words = [str(program), str(pid), "write" if writes else "read", str(APP_UID), str(APP_GID)]
        self._process = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{self.space}", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "FILES_RATE": str(rate)},
        )
        self.door = Door(self.socket)
        self._heard()

    def socket(self) -> socket.socket:
        """For the door."""
        netns.pushns(self.space)
        try:
            return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        finally:
            netns.popns()

    def _heard(self) -> dict[str, int]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the harness has ended"
        heard: dict[str, int] = json.loads(line)
        return heard

    def tell(self, command: str) -> dict[str, int]:
        """Its counters, after this."""
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        return self._heard()

    def asked(self, deed: Callable[[], object]) -> int:
        """How many requests cross the link for this."""
        before = self.tell("counters")["asked"]
        deed()
        return self.tell("counters")["asked"] - before

    def close(self) -> None:
        """An orderly end, which leaves nothing."""
        try:
            self._process.communicate("quit\n", timeout=60)
            assert self._process.returncode == 0, self._process.returncode
        finally:
            self._process.kill()
            subprocess.run(["ip", "netns", "del", self.space], check=False)
