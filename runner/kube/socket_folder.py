"""A folder of the runner's, bind-mounted into the bridge, with one Unix socket for each agent: the bridge dials, the
runner listens. For an engine on this host.

The folder is its user's alone (0700). What a killed runner left is removed by the next one: a lock that the kernel lets
go of says whose folder is still in use.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

from runner.errors import Refusal

_PREFIX = "mirror-run-legs-"
_LOCK = "lock"
BACKLOG = 64
"""Legs that wait to be accepted. A bridge dials two for each agent."""


class SocketFolder:
    """``path`` is what is mounted. Refusal where none can be made."""

    def __init__(self, where: Path) -> None:
        try:
            where.mkdir(mode=0o700, parents=True, exist_ok=True)
            sweep(where)
            self.path, self._lock = _locked_folder(where)
            self._folder = os.open(self.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise Refusal(
                f"no folder for the bridge's sockets can be made in {where}: {error.strerror}",
                "set XDG_RUNTIME_DIR to a folder of yours that exists",
            ) from error
        self._servers: set[asyncio.Server] = set()

    async def listen(self, name: str, protocol: Callable[[], asyncio.Protocol]) -> asyncio.Server:
        """Accept what dials the socket of this name, until the server is closed, or the folder."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            # By way of the descriptor, because a socket's path may have 107 octets at most (unix(7)), and a home more.
            sock.bind(f"/proc/self/fd/{self._folder}/{name}")
            server = await asyncio.get_running_loop().create_unix_server(protocol, sock=sock, backlog=BACKLOG)
        except BaseException:
            sock.close()
            raise
        self._servers.add(server)
        return server

    def close(self) -> None:
        """Nobody is accepted any more, and the folder is gone. Accepted legs are their owners' to end."""
        for server in self._servers:
            server.close()
        self._servers.clear()
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._folder)
        os.close(self._lock)


def _locked_folder(where: Path) -> tuple[Path, int]:
    while True:
        path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=where))  # 0700, as mkdtemp(3) has it
        lock = os.open(path / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (path / _LOCK).exists():
            return path, lock
        os.close(lock)  # another runner's sweep came between open and flock


def sweep(where: Path) -> None:
    """Remove the folders of this user's runners that are no more."""
    for folder in where.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if folder.lstat().st_uid != os.geteuid():
                continue
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
