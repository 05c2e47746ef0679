"""What an app, or a target, may try: nothing leaves the target's root, nothing waits for ever, and the door goes on."""

from __future__ import annotations

import errno
import os
import random
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tests.net.files.door import HEAD, OPS, Door, packet
from tests.net.files.lab import Files, Target

HOSTS = b"198.18.0.1 target\n"

CLIMB = """
import os, sys
folder = int(sys.argv[1])
for way in ("../../../..", f"/proc/self/fd/{folder}/../../.."):
    there = os.open(way, os.O_RDONLY | os.O_DIRECTORY, dir_fd=folder)
    assert sorted(os.listdir(there)) == sys.argv[2].split(), (way, os.listdir(there))
os.fchdir(folder)
os.chdir("../../../../..")
assert sorted(os.listdir(".")) == sys.argv[2].split()
try:
    os.open("../../../../etc/shadow", os.O_RDONLY, dir_fd=folder)
except FileNotFoundError:
    print("inside")
"""


def refused(door: Door, path: str, flags: int = os.O_RDONLY) -> int:
    """The errno."""
    answer = door.ask("open", path, flags=flags)
    assert answer.fd < 0
    return -answer.result


@pytest.mark.parametrize("start", ["/", "/etc", "/volume/..data"])
def test_no_way_up_from_a_descriptor(door: Door, target: Target, start: str) -> None:
    folder = door.open(start, os.O_RDONLY | os.O_DIRECTORY)
    names = " ".join(sorted(os.listdir(target.root)))
    nobody = ["unshare", "--mount", "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    command = [*nobody, "/usr/bin/python3", "-I", "-c", CLIMB, str(folder), names]
    done = subprocess.run(
        command, pass_fds=(folder,), capture_output=True, text=True, timeout=60, check=False
    )
    os.close(folder)
    assert done.stdout == "inside\n", done.stderr


def test_links_end_inside(door: Door) -> None:
    assert refused(door, "/etc/out") == errno.ENOENT
    assert refused(door, "/etc/loop") == errno.ELOOP
    assert refused(door, "/etc/magic") == errno.EACCES


def test_what_the_kernel_says_by_files_is_not_served(door: Door) -> None:
    for path in ("/proc", "/proc/self/status", "/proc/1/root/etc/passwd", "/proc/sys/kernel/hostname"):
        assert refused(door, path) == errno.EACCES
    folder = door.open("/", os.O_RDONLY | os.O_DIRECTORY)
    assert "proc" in os.listdir(folder)
    os.close(folder)


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_RDWR, os.O_WRONLY, os.O_RDONLY | os.O_NONBLOCK])
@pytest.mark.parametrize("path", ["/fifo", "/dev/null"])
def test_fifos_and_devices_are_seen_and_not_opened(writable: Files, path: str, flags: int) -> None:
    assert writable.door.stat(path)["mode"] != 0
    assert refused(writable.door, path, flags) == errno.ENXIO
    assert refused(writable.door, path, flags | os.O_CREAT) in (errno.ENXIO, errno.EACCES)


def test_a_target_that_moves_its_folders_meanwhile(door: Door, target: Target) -> None:
    inside, aside = target.root / "own" / "moving", target.root / "own" / "aside"
    (inside / "deep").mkdir(parents=True)
    (inside / "deep" / "etc").mkdir()
    (inside / "deep" / "etc" / "passwd").write_text("the target's")
    over = threading.Event()

    def move() -> None:
        while not over.is_set():
            inside.rename(aside)
            inside.symlink_to("/../../../../etc")
            inside.unlink()
            aside.rename(inside)

    mover = threading.Thread(target=move, name="mover")
    mover.start()
    seen = set()
    try:
        for _ in range(400):
            answer = door.ask("open", "/own/moving/deep/../../moving/deep/etc/passwd")
            if answer.fd >= 0:
                with os.fdopen(answer.fd, "rb") as file:
                    seen.add(file.read())
            else:
                assert -answer.result in (errno.ENOENT, errno.ESTALE, errno.ENOTDIR)
    finally:
        over.set()
        mover.join()
    assert seen <= {b"the target's"}
    assert door.read("/etc/hosts") == HOSTS


# --- a hostile client of the door ---


def test_what_is_no_ask_is_refused(door: Door) -> None:
    good = packet(1, b"/etc/hosts")
    wrong = [
        good[:-1],
        good + b"x",
        good[: HEAD.size - 1],
        b"x",
        packet(0, b"/etc/hosts"),
        packet(len(OPS) + 1, b"/etc/hosts"),
        packet(1, b"/etc/hosts", version=2),
        packet(1, b"etc/hosts"),
        packet(1, b""),
        packet(1, b"/etc\0/hosts"),
        packet(1, b"/etc/hosts", b"second"),
        packet(1, b"/etc/hosts", flags=os.O_TMPFILE),
        packet(2, b"/etc/hosts", flags=1),
        packet(9, b"/etc/hosts", b"relative"),
        packet(16, b"/etc/hosts"),
        packet(OPS.index("connect") + 1, b"/etc/hosts", flags=1),
        packet(OPS.index("connect") + 1, b"/etc/hosts", b"second"),
        packet(OPS.index("watch") + 1, b"/etc/hosts", flags=1),
        packet(OPS.index("watch") + 1, b"etc/hosts"),
        HEAD.pack(1, 1, 0, 0, 0, 0, 0, 65535, 0, 0, 0, 0, 0, 0, 0) + b"/" * 65535,
        HEAD.pack(1, 18, 0, 0, 0, 0, 0, 1, 1, 0xFFFFFFFF, 0, 0, 0, 0, 0) + b"/a",
    ]
    for octets in wrong:
        answer = door.send(octets)
        assert answer is not None, octets[:100]
        assert answer.result == -errno.EINVAL, octets[:100]
    assert door.read("/etc/hosts") == HOSTS


def test_noise(door: Door) -> None:
    noise = random.Random(6)
    for _ in range(300):
        octets = bytearray(packet(noise.randint(1, len(OPS)), b"/own/noise", b"x" * noise.randint(0, 9)))
        for _ in range(noise.randint(1, 6)):
            octets[noise.randrange(len(octets))] = noise.randrange(256)
        answer = door.send(bytes(octets))
        if answer is not None and answer.fd >= 0:
            os.close(answer.fd)
    assert door.read("/etc/hosts") == HOSTS


def test_who_says_nothing_does_not_keep_the_door(door: Door) -> None:
    silent = [door.connect() for _ in range(40)]
    began = time.monotonic()
    assert door.read("/etc/hosts") == HOSTS
    assert time.monotonic() - began < 30, "a second each, eight at a time"
    for sock in silent:
        sock.close()


def test_a_flood_and_who_leaves_before_the_answer(door: Door) -> None:
    def flood() -> None:
        for _ in range(100):
            sock = door.connect()
            sock.send(packet(1, b"/data/large"))
            sock.close()

    threads = [threading.Thread(target=flood, name="flood") for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        assert door.read("/etc/hosts") == HOSTS
    for thread in threads:
        thread.join()
    assert door.read("/etc/hosts") == HOSTS


ASK = """
import socket, sys
sock = socket.socket(fileno=int(sys.argv[1]))
sock.connect("\\0mirror-run/files")
sock.send(bytes.fromhex(sys.argv[2]))
print(int.from_bytes(sock.recv(100)[:4], "little", signed=True))
"""


@pytest.mark.parametrize(("user", "result"), [(1000, 0), (0, 0), (65534, -errno.EACCES)])
def test_the_door_is_for_the_apps_user_and_root(files: Files, user: int, result: int) -> None:
    with files.socket() as sock:
        as_user = ["setpriv", f"--reuid={user}", "--clear-groups", "/usr/bin/python3", "-I", "-c", ASK]
        command = [*as_user, str(sock.fileno()), packet(1, b"/etc/hosts").hex()]
        done = subprocess.run(
            command, pass_fds=(sock.fileno(),), capture_output=True, text=True, timeout=60, check=True
        )
    assert int(done.stdout) == result


# --- a hostile kernel: what the agent is asked that no kernel asks ---


def request(opcode: int, node: int, body: bytes) -> bytes:
    """As linux/fuse.h has it."""
    return struct.pack("<IIQQIIII", 40 + len(body), opcode, 2, node, 0, 0, 0, 0) + body


@pytest.mark.parametrize(
    ("opcode", "node", "body"),
    [
        (1, 1, b"../etc\0"),
        (1, 1, b"..\0"),
        (1, 1, b"\0"),
        (1, 1, b"unterminated"),
        (1, 999, b"etc\0"),
        (3, 1 << 63, b""),
        (15, 1, b"short"),
        (15, 1, struct.pack("<QQIIQII", 77, 0, 1 << 31, 0, 0, 0, 0)),
        (16, 1, struct.pack("<QQIIQII", 1, 0, 1 << 31, 0, 0, 0, 0)),
        (28, 1, struct.pack("<QQIIQII", 1 << 40, 0, 4096, 0, 0, 0, 0)),
        (9999, 1, b""),
        (0x4D520002, 1, struct.pack("<IIII", 1, os.O_RDWR, 1 << 31, 0) + b"/etc/hosts\0"),
        (0x4D520002, 1, struct.pack("<IIII", 0, 0, 0, 0) + b"relative\0"),
        (0x4D520002, 1, struct.pack("<IIII", 0, 0, 0, 0) + b"/" + b"a" * 5000 + b"\0"),
        (0x4D520010, 1, b"relative\0"),
        (0x4D520010, 1, b"/unterminated"),
        (0x4D520010, 1, b"/" + b"a/" * 3000 + b"\0"),
        (0x4D520010, 1, b"/proc/self/root/run/x\0"),
        (0x4D520010, 1, b"/../../../run/docker.sock\0"),
        (0x4D520010, 1, b"/etc/hosts\0"),
    ],
)
def test_the_agent_refuses_what_no_kernel_asks(
    raw: socket.socket, opcode: int, node: int, body: bytes
) -> None:
    raw.sendall(request(opcode, node, body))
    length, error, unique = struct.unpack("<IiQ", raw.recv(16, socket.MSG_WAITALL))
    assert unique == 2
    assert error < 0
    assert length == 16


@pytest.fixture(scope="module")
def raw(serving: Path, target: Target) -> object:
    """The agent's half alone, its channel's stream as a socket; greeted."""
    ours, theirs = socket.socketpair()
    command = [str(serving), "raw", str(target.pid), "write", str(theirs.fileno())]
    process = subprocess.Popen(command, pass_fds=(theirs.fileno(),))
    theirs.close()
    ours.settimeout(30)
    ours.sendall(request(0x4D520001, 0, struct.pack("<IIII", 1, 1000, 1001, 0)))
    assert struct.unpack("<IiQ", ours.recv(16, socket.MSG_WAITALL)) == (24, 0, 2)
    assert ours.recv(8, socket.MSG_WAITALL) == struct.pack("<II", 1, 1)
    yield ours
    ours.close()
    assert process.wait(timeout=30) == 0


@pytest.fixture(scope="module")
def serving(harness: Path) -> Path:
    return harness
