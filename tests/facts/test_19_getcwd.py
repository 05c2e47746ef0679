"""Fact 19: in a directory of a mount that no tree holds, the kernel's getcwd(2) has a remark before the name, and
libc's fails; /proc's own link has the name without it. All of it is so for what is executed there too.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import subprocess

import pytest

from tests.facts.fuse import Server

pytestmark = pytest.mark.net

SYS_GETCWD = 79
LOOKS = """
import ctypes, json, os, sys
libc = ctypes.CDLL(None, use_errno=True)
room = ctypes.create_string_buffer(4096)
if len(sys.argv) > 1:
    os.fchdir(int(sys.argv[1]))
    os.execv(sys.executable, [sys.executable, "-I", "-c", CODE]) if len(sys.argv) > 2 else None
found = {"kernel": libc.syscall(SYS, room, 4096) and room.value.decode(), "link": os.readlink("/proc/self/cwd")}
libc.getcwd.restype = ctypes.c_char_p
found["libc"] = (libc.getcwd(room, 4096) or b"").decode()
found["errno"] = ctypes.get_errno()
found["below"] = os.path.isdir("."), os.path.isdir("..")
print(json.dumps(found))
""".replace("SYS,", f"{SYS_GETCWD},")


def seen(fd: int, *more: str) -> dict[str, object]:
    code = LOOKS.replace("CODE", repr(LOOKS))
    command = ["/usr/bin/python3", "-I", "-c", code, str(fd), *more]
    done = subprocess.run(command, pass_fds=[fd], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_the_kernel_s_name_has_a_remark_and_libc_has_none(server: Server) -> None:
    assert ctypes.CDLL(None).syscall(SYS_GETCWD, ctypes.create_string_buffer(4096), 4096) > 0, (
        "the number is right"
    )
    folder = os.open("dir", os.O_RDONLY | os.O_DIRECTORY, dir_fd=server.mount)
    try:
        for more in ((), ("execute",)):
            assert seen(folder, *more) == {
                "kernel": "(unreachable)/dir",
                "link": "/dir",
                "libc": "",
                "errno": errno.ENOENT,
                "below": [True, True],
            }
    finally:
        os.close(folder)
