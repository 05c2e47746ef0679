"""Fact 22: what a seccomp listener is: who sees whom through it, that a task has one, what can be given by it, whose
it is, and what a filter is that nobody listens to.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
import subprocess
from collections.abc import Sequence

import pytest

pytestmark = pytest.mark.net

RECV, SEND, ADDFD = 0xC0502100, 0xC0182101, 0x40182103
CONTINUE = 1

ASKS = """
import array, ctypes, errno, os, socket, struct, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
MKDIR, SECCOMP, NEW_LISTENER = 83, 317, 8
code = b"".join(struct.pack("<HBBI", *one) for one in (
    (0x20, 0, 0, 0), (0x15, 0, 1, MKDIR), (0x06, 0, 0, 0x7FC00000), (0x06, 0, 0, 0x7FFF0000)))
room = ctypes.create_string_buffer(code)
program = struct.pack("<H6xQ", len(code) // 8, ctypes.addressof(room))
def listen():
    made = libc.syscall(SECCOMP, 1, NEW_LISTENER, program)
    return made if made >= 0 else -ctypes.get_errno()
def mkdir(name=b"/nowhere/at/all"):
    done = libc.syscall(MKDIR, name, 0o700)
    return done if done >= 0 else -ctypes.get_errno()
def no_new_privileges():
    libc.prctl(38, 1, 0, 0, 0)
def give(fd):
    socket.send_fds(socket.socket(fileno=int(sys.argv[1])), [b"x"], [fd])
"""

ANSWERS = """
import fcntl, os, socket, struct, sys
_, fds, _, _ = socket.recv_fds(socket.socket(fileno=int(sys.argv[1])), 1, 1)
asked = bytearray(80)
fcntl.ioctl(fds[0], 0xC0502100, asked)
print(struct.unpack_from("=QI", asked)[1])
fcntl.ioctl(fds[0], 0xC0182101, bytearray(struct.pack("=QqiI", struct.unpack_from("=Q", asked)[0], 0, 0, 1)))
"""


def start(code: str, *before: str, fd: int | None = None) -> subprocess.Popen[str]:
    """A program of its own; `fd` is a socket that it is given."""
    command = [*before, "/usr/bin/python3", "-I", "-c", code, *([] if fd is None else [str(fd)])]
    fds = [] if fd is None else [fd]
    return subprocess.Popen(command, pass_fds=fds, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out.strip()


def alone(code: str, *before: str) -> str:
    return said(start(ASKS + code, *before))


class Listener:
    """Of a program that has it sent here; ``next`` is the id and the pid of who waits."""

    def __init__(self, code: str, before: Sequence[str] = ()) -> None:
        here, there = socket.socketpair()
        with here, there:
            self.process = start(ASKS + code, *before, fd=there.fileno())
            there.close()
            _, fds, _, _ = socket.recv_fds(here, 1, 1)
        self.fd = fds[0]

    def next(self) -> tuple[int, int]:
        asked = bytearray(80)
        fcntl.ioctl(self.fd, RECV, asked)
        number, pid = struct.unpack_from("=QI", asked)
        return number, pid

    def answer(self, number: int, value: int = 0, error: int = 0, flags: int = 0) -> None:
        fcntl.ioctl(self.fd, SEND, bytearray(struct.pack("=QqiI", number, value, -error, flags)))

    def add(self, number: int, fd: int, flags: int = 2) -> int:
        added: int = fcntl.ioctl(self.fd, ADDFD, bytearray(struct.pack("=QIIII", number, flags, fd, 0, 0)))
        return added

    def close(self) -> None:
        os.close(self.fd)


GIVES = "no_new_privileges(); give(listen()); print(mkdir())"


def test_an_answer_is_a_value_an_error_or_the_call_itself() -> None:
    for answer, seen in (
        ({"value": 7}, "7"),
        ({"error": 122}, "-122"),
        ({"flags": CONTINUE}, f"-{errno.ENOENT}"),
    ):
        one = Listener(GIVES)
        number, pid = one.next()
        assert pid == one.process.pid
        one.answer(number, **answer)
        assert said(one.process) == seen
        one.close()


def test_from_a_sibling_pid_namespace_the_caller_is_nobody() -> None:
    here, there = socket.socketpair()
    with here, there:
        apart = ("unshare", "--pid", "--fork")
        reader = start(ANSWERS, *apart, fd=there.fileno())
        asker = start(ASKS + GIVES, *apart, fd=here.fileno())
        assert said(reader) == "0"
        assert said(asker) == f"-{errno.ENOENT}"


def test_an_ancestor_sees_who_it_is() -> None:
    one = Listener(GIVES, ("unshare", "--pid", "--fork"))
    number, pid = one.next()
    assert pid not in (0, one.process.pid)
    one.answer(number)
    assert said(one.process) == "0"
    one.close()


def test_there_is_one_for_a_task() -> None:
    assert alone("no_new_privileges(); a = listen(); print(a >= 0, listen())") == f"True -{errno.EBUSY}"


def test_without_a_capability_it_takes_no_new_privileges() -> None:
    dropped = ("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin")
    assert (
        alone("print(listen()); no_new_privileges(); print(listen() >= 0)", *dropped)
        == f"-{errno.EACCES}\nTrue"
    )


def test_it_is_a_thread_s_and_its_children_s() -> None:
    """So a program may be started with one by a thread that is made for it."""
    code = """
no_new_privileges()
def other():
    os.close(listen())
    print(mkdir(), flush=True)
    if os.fork() == 0:
        print(mkdir(), flush=True)
        os._exit(0)
    os.wait()
thread = threading.Thread(target=other)
thread.start()
thread.join()
print(mkdir())
"""
    nobody_listens = f"-{errno.ENOSYS}"
    assert alone(code) == f"{nobody_listens}\n{nobody_listens}\n-{errno.ENOENT}"


def test_a_descriptor_is_given_but_none_of_a_place_alone() -> None:
    one = Listener("no_new_privileges(); give(listen()); fd = mkdir(); print(os.read(fd, 99))")
    number, _ = one.next()
    place, file = os.open("/etc/hostname", os.O_PATH), os.open("/etc/hostname", os.O_RDONLY)
    with pytest.raises(OSError, match=f"Errno {errno.EBADF}"):
        one.add(number, place)
    assert one.add(number, file) > 2
    assert said(one.process) == repr(os.pread(file, 99, 0))
    for fd in (place, file):
        os.close(fd)
    one.close()


NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all")
READS = "import sys; open(f'/proc/{sys.argv[1]}/mem', 'rb')"
WAITS = "no_new_privileges(); give(listen()); mkdir()"


def readable(one: Listener) -> bool:
    """By a program of that user's, without a capability."""
    number, pid = one.next()
    command = [*NOBODY, "/usr/bin/python3", "-I", "-c", READS, str(pid)]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    one.answer(number)
    said(one.process)
    one.close()
    return done.returncode == 0


def test_who_has_changed_its_user_cannot_be_read_until_it_executes() -> None:
    """Its memory is nobody's to read (not dumpable), but for CAP_SYS_PTRACE, which no app's container has."""
    change = "os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534); "
    assert not readable(Listener(change + WAITS))
    assert readable(Listener(WAITS, NOBODY))
