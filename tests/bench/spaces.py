"""Network namespaces for measuring: made for one run, gone with it, addresses from 198.18.0.0/15 only.

``app`` is where the measured client lives; whoever carries its packets makes the interface there. ``host`` is
where the server listens, on an address of its loopback interface, so that every carrier has the same last
hop: none.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SERVER = "198.18.0.1"
APP_NET = "198.19.0.0/24"
APP_ADDRESS = "198.19.0.100"
APP_GATEWAY = "198.19.0.2"
MTU = 65520


@dataclass(frozen=True, slots=True)
class Space:
    """One network namespace, by its name under /run/netns."""

    name: str

    @property
    def path(self) -> str:
        """For setns, and for carriers that are told a path."""
        return f"/run/netns/{self.name}"

    def command(self, *words: str) -> list[str]:
        """The command line that runs ``words`` inside."""
        return ["nsenter", f"--net={self.path}", "--", *words]

    def run(self, *words: str) -> str:
        """Run inside, wait; its standard output. CalledProcessError with what it said on stderr."""
        return checked(self.command(*words))


def checked(words: list[str], timeout: float = 120) -> str:
    """Run to the end; what it said is in the error if it failed."""
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=timeout)
    if done.returncode:
        raise RuntimeError(
            f"{' '.join(words)}: exit {done.returncode}: {(done.stderr or done.stdout).strip()[-800:]}"
        )
    return done.stdout


@contextlib.contextmanager
def space(name: str) -> Iterator[Space]:
    """A namespace with its loopback up and TCP's congestion control set to reno (it is inherited from the
    machine).
    """
    checked(["ip", "netns", "add", name])
    try:
        made = Space(name)
        made.run("ip", "link", "set", "lo", "up")
        # reno: what namespaces inherit may be bbr, which paces, and halves what loopback carries.
        made.run("sysctl", "-qw", "net.ipv4.tcp_congestion_control=reno")
        made.run("sysctl", "-qw", "net.ipv4.ip_local_port_range=10000 65000")
        yield made
    finally:
        checked(["ip", "netns", "del", name])


@contextlib.contextmanager
def server_space(name: str) -> Iterator[Space]:
    """``host``: the server's address on lo, and a default route, without which pasta finds no interface to
    copy.
    """
    with space(name) as host:
        host.run("ip", "address", "add", f"{SERVER}/32", "dev", "lo")
        host.run("ip", "link", "add", "out0", "type", "veth", "peer", "name", "out1")
        host.run("ip", "address", "add", "198.18.1.1/24", "dev", "out0")
        host.run("ip", "link", "set", "out0", "up")
        host.run("ip", "link", "set", "out1", "up")
        host.run("ip", "route", "add", "default", "via", "198.18.1.2")
        yield host


def wait_for_listener(where: Space, port: int, patience: float = 5) -> None:
    """Until somebody listens on this TCP port in there. RuntimeError when nobody does in time."""
    until = time.monotonic() + patience
    while f":{port} " not in where.run("ss", "-Hltn"):
        if time.monotonic() > until:
            raise RuntimeError(f"nobody listens on port {port} in {where.name}")
        time.sleep(0.02)  # another program's socket: nothing tells us


def congestion_control(of: Space) -> str:
    """What TCP uses in there."""
    return of.run("sysctl", "-n", "net.ipv4.tcp_congestion_control").strip()


def left_over(prefix: str) -> list[str]:
    """Namespaces of an earlier run that was killed."""
    folder = Path("/run/netns")
    return (
        sorted(entry.name for entry in folder.iterdir() if entry.name.startswith(prefix))
        if folder.exists()
        else []
    )
