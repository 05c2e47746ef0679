"""A namespace as the bridge makes it (tun0, routes, rules), with tun0's far end in the test's hands."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from layer import rules, tun, ways
from tests.net.layer.packets import ACK, PSH, SYN, Far, Packet
from tests.net.layer.space import Space
from wire.messages import Address

OWN4, OWN6 = "198.18.5.2", "fd00:198:18::5"
OTHER4, OTHER6 = "198.18.9.9", "fd00:198:18::9"
RESOLVER = "127.0.0.11"


def packed(text: str) -> bytes:
    """4 or 16 octets."""
    return ipaddress.ip_address(text).packed


class Field:
    """What is made by ``opened`` and ``listen`` lives in the namespace and ends with it."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self.space = Space()
        stack.callback(self.space.close)
        addresses = (Address(packed(OWN4), 16), Address(packed(OWN6), 64))
        with self.space.inside():
            fd = tun.make()
            stack.callback(os.close, fd)
            ways.prepare(addresses)
        self.far = Far(fd)
        self.ground = rules.Ground(tuple(one.ip for one in addresses), (packed(RESOLVER),))
        self.rule(rules.Sockets())

    def rule(self, sockets: rules.Sockets) -> None:
        """The product's script, whole."""
        self.space.nft(rules.whole(self.ground, sockets))

    def ports(self, sockets: rules.Sockets) -> None:
        """The product's script that swaps port sets."""
        self.space.nft(rules.ports(sockets))

    def opened(self, family: int, kind: int = socket.SOCK_STREAM) -> socket.socket:
        """A socket of the app's, with a bound on what it waits."""
        with self.space.inside():
            made = socket.socket(family, kind)
        self.stack.enter_context(made)
        made.settimeout(2)
        return made

    def listen(self, address: str, port: int, kind: int = socket.SOCK_STREAM) -> socket.socket:
        """The app serves there; "::" takes IPv4 too."""
        made = self.opened(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
        if address == "::":
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made.bind((address, port))
        if kind == socket.SOCK_STREAM:
            made.listen()
        return made

    def client(self, source: str, to: str, port: int, listener: socket.socket) -> tuple[str, str]:
        """A mirrored client speaks through tun0 and is answered through it. The app's view: (peer, own name)."""
        sport = 5555
        self.far.send(Packet(6, source, sport, to, port, SYN, 100))
        synack = self.far.take(lambda p: p.flags == SYN | ACK and (p.dst, p.dport) == (source, sport))
        assert (synack.src, synack.sport) == (to, port)
        self.far.send(synack.answer(ACK, 101))
        self.far.send(synack.answer(ACK | PSH, 101, b"question"))
        accepted, peer = listener.accept()
        self.stack.enter_context(accepted)
        accepted.settimeout(2)
        assert accepted.recv(100) == b"question"
        accepted.sendall(b"answer")
        answer = self.far.take(lambda p: p.payload == b"answer")
        assert (answer.src, answer.sport, answer.dst, answer.dport) == (to, port, source, sport)
        plain = [name[0].removeprefix("::ffff:") for name in (peer, accepted.getsockname())]
        assert peer[1] == sport
        return plain[0], plain[1]

    def connect_out(self, to: str, port: int) -> None:
        """The app connects; the SYN leaves by tun0, and the connection works both ways."""
        sock = self.opened(socket.AF_INET6 if ":" in to else socket.AF_INET)
        sock.setblocking(False)
        sock.connect_ex((to, port))
        syn = self.far.take(lambda p: p.flags == SYN and (p.dst, p.dport) == (to, port))
        self.far.send(syn.answer(SYN | ACK, 1000))
        sock.settimeout(2)
        self.far.take(lambda p: p.flags == ACK and p.dport == port)
        sock.sendall(b"question")
        question = self.far.take(lambda p: p.payload == b"question")
        self.far.send(question.answer(ACK | PSH, 1001, b"answer"))
        assert sock.recv(100) == b"answer"
        assert sock.getpeername()[:2] == (to, port)

    def send_out(self, to: str, port: int) -> None:
        """The app's datagram leaves by tun0, and the answer arrives from whom it was sent to."""
        sock = self.opened(socket.AF_INET6 if ":" in to else socket.AF_INET, socket.SOCK_DGRAM)
        sock.sendto(b"question", (to, port))
        question = self.far.take(lambda p: p.payload == b"question")
        assert (question.dst, question.dport) == (to, port)
        self.far.send(Packet(17, to, port, question.src, question.sport, payload=b"answer"))
        octets, peer = sock.recvfrom(100)
        assert (octets, peer[:2]) == (b"answer", (to, port))


@contextmanager
def field() -> Iterator[Field]:
    """A fresh one."""
    with ExitStack() as stack:
        yield Field(stack)
