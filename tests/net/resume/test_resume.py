"""The bridge's engine and the agent's, joined by a way that is cut: what the app and its peer notice of it, which is
nothing but time, unless it is never mended.
"""

from __future__ import annotations

import errno
import hashlib
import os
import random
import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from agent.engine import Engine, EngineFault, LinkCut, LinkGone
from layer.netstack.engine import NetstackError
from tests.net.agent.lab import TARGET4, WORLD4, Lab
from tests.net.netstack.ground import Ground, ground, outcome, ready
from tests.net.resume.way import SESSION, Way
from wire.messages import AppPort

pytestmark = [pytest.mark.net, pytest.mark.native]

BLOCK = os.urandom(1 << 20)
TOTAL = 100 << 20
"""Each way."""


class Place:
    """The app's side (``ground``), the target and the world it speaks to (``lab``), and the way between the engines."""

    def __init__(self, stack: ExitStack, delay: float = 0.0) -> None:
        self.lab = Lab()
        stack.callback(self.lab.destroy)
        self.lab.build()
        self.ground: Ground = stack.enter_context(ground())
        self.engine = stack.enter_context(Engine())
        self.engine.session_add(SESSION)
        netns = self.lab.open_target()
        self.engine.target_set(SESSION, 0, netns)
        os.close(netns)
        self.way = Way(self.ground.netstack, self.engine, delay)
        stack.callback(lambda: self.way.close())

    def pair(self, stack: ExitStack) -> tuple[socket.socket, socket.socket]:
        """A connection: the app's socket, and its server's in the world."""
        listener = self.lab.listener(self.lab.world, WORLD4)
        stack.callback(listener.close)
        app = self.ground.opened()
        app.connect((WORLD4, listener.getsockname()[1]))
        assert ready(select.POLLIN, 5, listener.fileno())
        served, _ = listener.accept()
        stack.enter_context(served)
        for sock in (app, served):
            sock.settimeout(60)
        return app, served

    def engine_event(self) -> LinkGone | LinkCut:
        """The agent's engine's next."""
        assert ready(select.POLLIN, 20, self.engine.outbox)
        (event,) = self.engine.events()
        return event

    def cut_and_heard(self) -> None:
        """The way is cut, and both ends have said so."""
        self.way.cut()
        name, link, reason = self.ground.message()
        assert (name, link) == ("link-cut", self.way.link)
        assert reason
        event = self.engine_event()
        assert isinstance(event, LinkCut)
        assert (event.session, event.link) == (SESSION, self.way.number)


@pytest.fixture
def place() -> Iterator[tuple[Place, ExitStack]]:
    with ExitStack() as stack:
        yield Place(stack), stack


def send(sock: socket.socket, total: int, digests: dict[str, str], name: str) -> None:
    digest = hashlib.sha1(usedforsecurity=False)
    for i in range(total // len(BLOCK)):
        block = struct.pack(">Q", i) + BLOCK[8:]
        digest.update(block)
        sock.sendall(block)
    sock.shutdown(socket.SHUT_WR)
    digests[name] = digest.hexdigest()


def take(sock: socket.socket, digests: dict[str, str], name: str) -> None:
    digest = hashlib.sha1(usedforsecurity=False)
    while octets := sock.recv(1 << 20):
        digest.update(octets)
    digests[name] = digest.hexdigest()


def test_a_transfer_survives_twenty_cuts(place: tuple[Place, ExitStack]) -> None:
    at, stack = place
    app, served = at.pair(stack)
    digests: dict[str, str] = {}
    workers = [
        threading.Thread(target=send, args=(app, TOTAL, digests, "up sent")),
        threading.Thread(target=take, args=(served, digests, "up came")),
        threading.Thread(target=send, args=(served, TOTAL, digests, "down sent")),
        threading.Thread(target=take, args=(app, digests, "down came")),
    ]
    random.seed(20)
    at.way.cut()
    at.way.resume(after=random.randrange(1 << 22))
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        if at.way.leg.over.wait(0.05):
            at.way.cuts += 1
            at.way.resume(after=random.randrange(2 << 20, 12 << 20))
    for worker in workers:
        worker.join()
    assert at.way.cuts >= 20
    assert set(digests) == {"up sent", "up came", "down sent", "down came"}
    assert digests["up sent"] == digests["up came"]
    assert digests["down sent"] == digests["down came"]


def test_an_end_and_a_reset_cross_later(place: tuple[Place, ExitStack]) -> None:
    at, stack = place
    first, second = at.pair(stack), at.pair(stack)
    at.cut_and_heard()
    first[0].sendall(b"the last of it")
    first[0].shutdown(socket.SHUT_WR)
    second[1].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    second[1].close()
    first[1].settimeout(0.2)
    with pytest.raises(TimeoutError):
        first[1].recv(1)
    assert not ready(select.POLLIN, 0, second[0].fileno())
    at.way.resume()
    first[1].settimeout(10)
    assert first[1].recv(100) == b"the last of it"
    assert first[1].recv(1) == b""
    first[1].sendall(b"and its answer")
    assert first[0].recv(100) == b"and its answer"
    with pytest.raises(ConnectionResetError):
        second[0].recv(1)


def test_a_connect_meanwhile_is_made_afterwards(place: tuple[Place, ExitStack]) -> None:
    at, stack = place
    listener = at.lab.listener(at.lab.world, WORLD4)
    stack.callback(listener.close)
    at.cut_and_heard()
    app = at.ground.opened()
    app.setblocking(False)
    assert app.connect_ex((WORLD4, listener.getsockname()[1])) == errno.EINPROGRESS
    assert not ready(select.POLLOUT, 0.2, app.fileno())
    at.way.resume()
    assert outcome(app) == 0


def test_one_that_is_not_mended_is_a_reset(place: tuple[Place, ExitStack]) -> None:
    at, stack = place
    app, served = at.pair(stack)
    at.cut_and_heard()
    assert not ready(select.POLLIN, 0.2, app.fileno(), served.fileno())
    at.engine.link_del(SESSION)
    at.ground.netstack.link_del(at.way.link)
    for sock in (app, served):
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
    with pytest.raises(EngineFault, match="no data link that keeps"):
        at.engine.link_cut(SESSION)
    with pytest.raises(NetstackError, match="has ended"):
        at.ground.netstack.link_cut(at.way.link)


def test_claims_that_cannot_be(place: tuple[Place, ExitStack]) -> None:
    at, stack = place
    app, served = at.pair(stack)
    at.cut_and_heard()
    here = at.ground.netstack.link_cut(at.way.link)
    ours, theirs = socket.socketpair()
    with pytest.raises(EngineFault, match="it can only have"):
        at.engine.link_resume(SESSION, theirs.detach(), here + 1000)
    assert ours.recv(1) == b""
    ours.close()
    at.way.resume()  # the right claim still goes on
    app.sendall(b"still here")
    assert served.recv(100) == b"still here"


def test_a_link_that_does_not_keep_ends(place: tuple[Place, ExitStack]) -> None:
    at, _ = place
    ours, theirs = socket.socketpair()
    link = at.ground.netstack.link_add(ours.detach())
    with pytest.raises(NetstackError, match="keeps nothing"):
        at.ground.netstack.link_cut(link)
    theirs.close()
    assert at.ground.message()[:2] == ["link-gone", link]


def test_new_connections_go_to_the_new_primary(place: tuple[Place, ExitStack]) -> None:
    """The agent knows the target as 7; what was opened by the former link stays there."""
    at, stack = place
    app, served = at.pair(stack)
    engine = stack.enter_context(Engine())
    engine.session_add(SESSION)
    netns = os.open(f"/run/netns/{at.lab.world}", os.O_RDONLY)  # here the world is the target
    engine.target_set(SESSION, 7, netns)
    os.close(netns)
    ours, theirs = socket.socketpair()
    engine.link_add(SESSION, theirs.detach(), keeps=True)
    link = at.ground.netstack.link_add(ours.detach(), primary=False, keeps=True)
    listener = at.lab.listener(at.lab.target, TARGET4)
    stack.callback(listener.close)

    at.ground.netstack.link_primary(link, 7)
    another = at.ground.opened()
    another.connect((TARGET4, listener.getsockname()[1]))
    assert ready(select.POLLIN, 5, listener.fileno())
    there, peer = listener.accept()
    stack.enter_context(there)
    assert peer[0] == WORLD4
    app.sendall(b"still by the first")
    assert served.recv(100) == b"still by the first"
    with pytest.raises(NetstackError, match="has ended"):
        at.ground.netstack.link_primary(99, 0)


@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_long_way_is_filled(direction: str) -> None:
    """6.25 MB, what 1 Gbit/s has on the way in 50 ms; here by a way so long that the window is all that counts."""
    with ExitStack() as stack:
        at = Place(stack, delay=0.3)
        app, served = at.pair(stack)
        sender, taker = (app, served) if direction == "up" else (served, app)
        digests: dict[str, str] = {}
        workers = [
            threading.Thread(target=send, args=(sender, TOTAL // 4, digests, "sent")),
            threading.Thread(target=take, args=(taker, digests, "came")),
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert digests["sent"] == digests["came"]
        assert 6_250_000 < max(at.way.leg.peak) < 17 << 20


def exactly(sock: socket.socket, count: int) -> bytes:
    """So many octets, or fewer ahead of the end."""
    got = bytearray()
    while len(got) < count and (octets := sock.recv(count - len(got))):
        got += octets
    return bytes(got)


class Mirrored:
    """A client of the target's, the target's own server, and the app that is shown the copy."""

    def __init__(self, at: Place, stack: ExitStack) -> None:
        self.listener = at.lab.listener(at.lab.target, TARGET4)
        stack.callback(self.listener.close)
        port = self.listener.getsockname()[1]
        at.engine.mirror_ports(SESSION, 0, (AppPort(proto=socket.IPPROTO_TCP, app=port, target=port),))
        app = at.ground.listen(4, port)
        with at.lab.inside(at.lab.world):
            self.client = stack.enter_context(socket.create_connection((TARGET4, port), timeout=60))
        self.server = stack.enter_context(self.listener.accept()[0])
        self.server.settimeout(60)
        self.say(b"first")
        self.app = stack.enter_context(app.accept()[0])
        self.app.settimeout(60)
        assert exactly(self.app, 5) == b"first"

    def say(self, octets: bytes) -> None:
        """To the target, which takes it."""
        sender = threading.Thread(target=self.client.sendall, args=(octets,))
        sender.start()
        left = len(octets)
        while left:
            left -= len(self.server.recv(min(left, 1 << 20)))
        sender.join()


def test_a_mirrored_connection_survives(place: tuple[Place, ExitStack]) -> None:
    at, stack = place
    mirrored = Mirrored(at, stack)
    for cut in range(5):
        at.cut_and_heard()
        mirrored.say(BLOCK)
        at.way.resume()
        assert exactly(mirrored.app, len(BLOCK)) == BLOCK, cut
    mirrored.client.shutdown(socket.SHUT_WR)
    assert mirrored.app.recv(1) == b""
    counted = at.engine.counters(SESSION)
    assert (counted.connections, counted.dropped) == (1, 0)


def test_a_mirrored_one_that_is_too_much_meanwhile_is_dropped(place: tuple[Place, ExitStack]) -> None:
    """As with an app that does not read: the target's client notices nothing, it is counted, the app sees a reset."""
    at, stack = place
    mirrored = Mirrored(at, stack)
    at.cut_and_heard()
    while not at.engine.counters(SESSION).dropped:
        mirrored.say(BLOCK)
    at.way.resume()
    with pytest.raises(ConnectionResetError):
        exactly(mirrored.app, 1 << 30)
    mirrored.say(b"the target is still there")
