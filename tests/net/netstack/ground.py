"""The bridge's namespace with its engine running, the app's part played by sockets, the agent's by ``FarEnd``."""

from __future__ import annotations

import ipaddress
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from layer import rules, tun, ways
from layer.netstack.engine import Netstack
from tests.net.layer.space import Space
from tests.net.netstack.far_end import FarEnd
from wire.messages import Address

OWN4, OWN6 = "198.18.5.2", "fd00:198:18::5"
OTHER4, OTHER6 = "198.18.9.9", "fd00:198:18::9"
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
OWN = {4: OWN4, 6: OWN6}
OTHER = {4: OTHER4, 6: OTHER6}


def packed(text: str) -> bytes:
    """4 or 16 octets."""
    return ipaddress.ip_address(text).packed


def wait_local(address: str) -> None:
    """The kernel makes an IPv6 address's local route after it has answered netlink (addrconf's work queue)."""
    wanted = f"{ipaddress.ip_address(address).packed.hex()} 80 "
    for _ in range(2000):
        with open("/proc/thread-self/net/ipv6_route") as routes:
            if any(line.startswith(wanted) for line in routes):
                return
        select.select([], [], [], 0.001)
    raise TimeoutError(f"{address} did not become local")


class Ground:
    """Sockets made by ``opened`` and ``listen`` are the app's; ``far`` is the primary link's other end."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self.space = Space()
        stack.callback(self.space.close)
        with self.space.inside():
            fd = tun.make()
            self.netstack = stack.enter_context(Netstack(fd))
            ways.prepare((Address(packed(OWN4), 16), Address(packed(OWN6), 64)))
            wait_local(OWN6)
        own = (packed(OWN4), packed(OWN6))
        self.space.nft(rules.whole(rules.Ground(own), rules.Sockets()))
        self.netstack.addresses(list(own))
        self.thread = threading.Thread(target=self.netstack.run, name="engine")
        self.thread.start()
        stack.callback(self.thread.join)
        stack.callback(self.netstack.stop)
        self.far = FarEnd()
        stack.callback(self.far.close)
        self.link = self.netstack.link_add(self.far.bridge_end.detach())

    def opened(self, family: int = 4, kind: int = socket.SOCK_STREAM, timeout: float = 5) -> socket.socket:
        """A socket of the app's."""
        with self.space.inside():
            made = socket.socket(FAMILY[family], kind)
        self.stack.enter_context(made)
        made.settimeout(timeout)
        return made

    def listen(self, family: int, port: int, kind: int = socket.SOCK_STREAM) -> socket.socket:
        """The app serves there, at the target's address."""
        made = self.opened(family, kind)
        made.bind((OWN[family], port))
        if kind == socket.SOCK_STREAM:
            made.listen()
        return made

    def connecting(self, port: int, family: int = 4) -> socket.socket:
        """A socket whose connect(2) is under way."""
        made = self.opened(family)
        made.setblocking(False)
        assert made.connect_ex((OTHER[family], port)) in (0, 115)
        return made

    def connected(self, port: int = 80, family: int = 4) -> tuple[socket.socket, int]:
        """A socket of the app's that is connected, and its channel."""
        sock = self.connecting(port, family)
        channel = self.far.accept().channel
        assert outcome(sock) == 0
        sock.settimeout(5)
        return sock, channel

    def halt(self) -> None:
        """The engine's loop runs no more: what happens from here on it does not see, except its own end."""
        self.netstack.stop()
        self.thread.join()

    def message(self, timeout: float = 5) -> list[object]:
        """The engine's next message."""
        while (message := self.netstack.pull()) is None:
            assert ready(select.POLLIN, timeout, self.netstack.fileno()), "the engine said nothing"
        return message


def ready(event: int, timeout: float, *fds: int) -> set[int]:
    """Those of the fds that are, or have failed. select(2) knows no fd above 1,023, and whole runs reach them."""
    poll = select.poll()
    for fd in fds:
        poll.register(fd, event)
    return {fd for fd, _ in poll.poll(timeout * 1000)}


def outcome(sock: socket.socket, timeout: float = 5) -> int:
    """What a connect under way came to: 0 or an errno."""
    assert ready(select.POLLOUT, timeout, sock.fileno()), "connect(2) did not end"
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


@contextmanager
def ground() -> Iterator[Ground]:
    """A fresh one."""
    with ExitStack() as stack:
        yield Ground(stack)
