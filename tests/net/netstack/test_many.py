"""Many connections at once: each gets what is its own, and an idle one costs next to nothing."""

from __future__ import annotations

import select
import socket
import threading

from tests.net.netstack.far_end import Data, Open, Opened
from tests.net.netstack.ground import OTHER, Ground, outcome, ready

MANY = 1000


def test_a_thousand_connections_at_once(place: Ground) -> None:
    socks = []
    for _ in range(MANY):
        sock = place.opened()
        sock.setblocking(False)
        sock.connect_ex((OTHER[4], 80))
        socks.append(sock)
    by_port = {}
    for _ in range(MANY):
        asked = place.far.take(Open)
        by_port[asked.source_port] = asked.channel
        place.far.send(Opened(asked.channel, 1 << 20))
    for sock in socks:
        assert outcome(sock) == 0
    counters = place.netstack.counters()
    assert counters.flows == counters.opened == MANY
    ends = [(sock, by_port[sock.getsockname()[1]]) for sock in socks]

    def say() -> None:
        for sock, channel in ends:
            sock.sendall(b"%d" % channel)

    speaker = threading.Thread(target=say)
    speaker.start()
    for _ in range(MANY):
        data = place.far.take(Data)
        assert data.payload == b"%d" % data.channel
        place.far.send(Data(data.channel, b"to %d" % data.channel))
    speaker.join()
    for sock, channel in ends:
        sock.settimeout(5)
        assert sock.recv(100) == b"to %d" % channel
    until(
        lambda: place.netstack.counters().ticking == 0
    )  # nobody waits for anything: lwIP's clock stands still
    assert place.netstack.counters().held == 0


def test_what_all_connections_hold_is_bounded(place: Ground) -> None:
    socks = []
    for _ in range(100):
        sock = place.connecting(80)
        asked = place.far.take(Open)
        place.far.send(Opened(asked.channel, 0))  # takes nothing
        assert outcome(sock) == 0
        socks.append(sock)
    quiet = 0
    while quiet < 3:
        writable = ready(select.POLLOUT, 0.1, *(sock.fileno() for sock in socks))
        quiet = 0 if writable else quiet + 1
        for sock in socks:
            if sock.fileno() in writable:
                pump(sock)
    assert 32 << 20 < place.netstack.counters().held < 80 << 20
    assert place.netstack.counters().lost > 0
    free, channel = place.connected(81)
    free.sendall(b"still served")
    assert place.far.octets(channel, 12) == b"still served"


def pump(sock: socket.socket) -> None:
    """As much as its kernel takes."""
    try:
        while sock.send(b"x" * 65536):
            continue
    except BlockingIOError:
        pass


def until(true: object, timeout: float = 30) -> None:
    """Until it is; the counters are a call of the engine's, so there is nothing to wait on."""
    assert callable(true)
    for _ in range(int(timeout / 0.01)):
        if true():
            return
        select.select([], [], [], 0.01)
    raise TimeoutError
