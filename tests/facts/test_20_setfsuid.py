"""Fact 20: setfsuid(2) without CAP_SETUID changes nothing and says nothing; asked with -1 it tells who one is.

And what a file thread leans on beside it: a thread may change its own file-system user, groups and capabilities by raw
calls, and the process's other threads keep theirs.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import threading

import pytest

pytestmark = pytest.mark.net

_libc = ctypes.CDLL(None, use_errno=True)
NOBODY = 65534

SILENT = """
import ctypes
libc = ctypes.CDLL(None)
libc.setfsuid(65534)
print(libc.setfsuid(-1), open("/etc/shadow").read(1) != "")
"""


def without(capability: str) -> str:
    drop = ["setpriv", f"--bounding-set=-{capability}", f"--inh-caps=-{capability}"]
    command = [*drop, "/usr/bin/python3", "-I", "-c", SILENT]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()


def test_it_fails_without_a_word() -> None:
    assert without("setuid") == "0 True"


def test_it_works_with_the_capability() -> None:
    done = subprocess.run(
        ["/usr/bin/python3", "-I", "-c", SILENT], capture_output=True, text=True, timeout=60, check=False
    )
    assert "PermissionError" in done.stderr


def test_it_is_of_one_thread() -> None:
    seen: dict[str, int] = {}

    def change() -> None:
        _libc.setfsuid(NOBODY)
        seen["there"] = _libc.setfsuid(-1)

    thread = threading.Thread(target=change, name="another user's")
    thread.start()
    thread.join()
    assert seen["there"] == NOBODY
    assert _libc.setfsuid(-1) == os.geteuid()
