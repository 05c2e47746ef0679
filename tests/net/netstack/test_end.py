"""The engine may be freed whatever its connections are doing: none is left.

netstack_free itself counts them and ends the process when one is not freed, so what is asserted here is that each was
where its test means it to be.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.net.netstack.far_end import Eof, Open, Opened
from tests.net.netstack.ground import Ground, outcome
from tests.net.netstack.test_many import until
from tests.net.netstack.test_mirror import mirrored
from tests.net.netstack.test_out import stalled_and_closed

NO_HANDSHAKE = """
table inet deaf {
    chain input {
        type filter hook input priority -300;
        iifname "tun0" tcp flags & (syn | ack) == (syn | ack) drop
    }
}
"""


def asked(place: Ground) -> None:
    place.connecting(80)
    place.far.take(Open)


def handed(place: Ground) -> None:
    place.space.nft(NO_HANDSHAKE)
    place.connecting(80)
    place.far.accept()
    until(lambda: place.netstack.counters().ticking == 1)


def live(place: Ground) -> None:
    place.connected()


def with_octets_that_wait(place: Ground) -> None:
    sock = place.connecting(80)
    channel = place.far.take(Open).channel
    place.far.send(Opened(channel, 0))
    assert outcome(sock) == 0
    sock.send(b"up" * 5000)
    until(lambda: place.netstack.counters().held == 10_000)


def waited_out(place: Ground) -> None:
    sock, channel = place.connected()
    place.far.send(Eof(channel))
    assert sock.recv(1) == b""
    sock.close()
    place.far.take(Eof)
    assert place.netstack.counters().ticking == 0


def draining(place: Ground) -> None:
    stalled_and_closed(place, 0)


def dialling(place: Ground) -> None:
    place.listen(4, 8080).listen(0)
    mirrored(place, 4, 8080, 1000)
    place.far.take(Opened)  # and nobody accepts it, so that the next SYN is dropped
    until(lambda: place.netstack.counters().ticking == 0)
    mirrored(place, 4, 8080, 1001)
    until(lambda: place.netstack.counters().ticking == 1)


def joined(place: Ground) -> None:
    place.listen(4, 8080)
    mirrored(place, 4, 8080, 1000)
    place.far.take(Opened)


@pytest.mark.parametrize("cut", [False, True], ids=["at-once", "link-first"])
@pytest.mark.parametrize(
    "put",
    [asked, handed, live, with_octets_that_wait, waited_out, draining, dialling, joined],
    ids=lambda put: put.__name__,
)
def test_an_engine_is_freed_with_a_connection_that_is(
    place: Ground, put: Callable[[Ground], None], cut: bool
) -> None:
    put(place)
    assert place.netstack.counters().flows in (1, 2)
    if cut:
        place.far.close()
        assert place.message()[0] == "link-gone"
    place.halt()
