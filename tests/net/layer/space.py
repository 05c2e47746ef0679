"""A network namespace of a test's own, without a process in it: enter, make a socket, leave."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from runner.plan import BRIDGE_SYSCTLS, IPV6_SYSCTLS

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)

SYSCTLS = {key.replace(".", "/"): value for key, value in (BRIDGE_SYSCTLS | IPV6_SYSCTLS).items()}
"""What the runner gives the bridge's namespace, under its names below /proc/sys."""


def _check(result: int, what: str) -> None:
    if result:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


class Space:
    """The namespace lives as long as ``fd`` and whatever was made inside."""

    def __init__(self, sysctls: dict[str, str] | None = None) -> None:
        made: list[int | OSError] = []

        def make() -> None:
            try:
                _check(_libc.unshare(_CLONE_NEWNET), "unshare")
                made.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY))
            except OSError as error:
                made.append(error)

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        if isinstance(made[0], OSError):
            raise made[0]
        self.fd: int = made[0]
        with self.inside():
            for key, value in (SYSCTLS if sysctls is None else sysctls).items():
                Path("/proc/sys", key).write_text(value)

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """This thread is in the namespace; what it makes stays there."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        _check(_libc.setns(self.fd, _CLONE_NEWNET), "setns")
        try:
            yield
        finally:
            _check(_libc.setns(home, _CLONE_NEWNET), "setns back")
            os.close(home)

    def nft(self, script: str, *flags: str) -> str:
        """Runs a script; its errors are the test's."""
        done = self.run(["nft", *flags, "-f", "-"], script)
        assert done.returncode == 0, done.stderr + script
        return done.stdout

    def run(self, argv: list[str], text: str = "") -> subprocess.CompletedProcess[str]:
        """Runs a command inside."""
        command = ["nsenter", f"--net=/proc/{os.getpid()}/fd/{self.fd}", "--", *argv]
        return subprocess.run(command, input=text, capture_output=True, text=True, timeout=20)

    def close(self) -> None:
        """Lets the namespace go."""
        os.close(self.fd)
