"""A disk of the target's that never answers: a FUSE file system whose server reads what it is asked, and says nothing.

As NFS whose server is gone. What waits for it cannot even be killed, since it has been sent; it ends when the server
does.
"""

from __future__ import annotations

import signal
import subprocess
import sys

from tests.net.files.lab import Target

SERVER = r"""
import os, struct, subprocess, sys
fd = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={fd},rootmode=40000,user_id=0,group_id=0,allow_other"
subprocess.run(["mount", "-i", "-t", "fuse", "-o", options, "hanging", sys.argv[1]], pass_fds=(fd,), check=True)
while True:
    asked = os.read(fd, 1 << 17)
    _, opcode, unique = struct.unpack_from("<IIQ", asked)
    if opcode == 26:  # FUSE_INIT
        body = struct.pack("<IIIIHHIII", 7, 31, 0, 0, 16, 16, 4096, 1, 0).ljust(64, b"\0")
        os.write(fd, struct.pack("<IiQ", 16 + len(body), 0, unique) + body)
        print("ready", flush=True)
    else:
        print("asked", flush=True)
"""


class Hanging:
    """Mounted at ``path`` in the target, until ``close``."""

    def __init__(self, target: Target, path: str) -> None:
        where = target.root / path.lstrip("/")
        where.mkdir(exist_ok=True)
        command = ["nsenter", f"--mount=/proc/{target.pid}/ns/mnt", "--", sys.executable, "-I", "-c", SERVER]
        self._server = subprocess.Popen([*command, str(where)], stdout=subprocess.PIPE, text=True)
        self.heard("ready")

    def heard(self, word: str) -> None:
        """Returns when the server has said so."""
        assert self._server.stdout is not None
        assert self._server.stdout.readline() == f"{word}\n"

    def close(self) -> str:
        """Whoever waits is told that there is nobody. What it has said and nobody heard."""
        self._server.send_signal(signal.SIGKILL)
        return self._server.communicate(timeout=20)[0]
