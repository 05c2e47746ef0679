"""Everything at once, in an order that a seed chooses: the engine never gets into a state that it cannot be in.

Its own checks (CHECK, lwIP's assertions) end the process, so what is asserted here is that nothing is left at the end.
"""

from __future__ import annotations

import contextlib
import errno
import queue
import random
import socket
import struct
from dataclasses import dataclass, field

import pytest

from tests.net.netstack.far_end import Data, Eof, FarEnd, Grant, Message, Open, Opened, Reset
from tests.net.netstack.ground import OTHER, OWN, Ground, packed
from tests.net.netstack.test_many import until
from wire.messages import ChannelKind

STEPS = 4000
PORT = 8080


@dataclass
class Channel:
    """As the far end sees it."""

    number: int
    open: bool = False
    eof_sent: bool = False
    eof_got: bool = False
    credit: int = 0


@dataclass
class Storm:
    """One seed's storm."""

    place: Ground
    chance: random.Random
    listener: socket.socket
    far: FarEnd
    socks: list[socket.socket] = field(default_factory=list)
    channels: dict[int, Channel] = field(default_factory=dict)

    def connect(self) -> None:
        """The app connects out."""
        with self.place.space.inside():
            sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex((OTHER[4], self.chance.randrange(1, 4)))
        self.socks.append(sock)

    def mirror(self) -> None:
        """An agent opens; sometimes where nobody listens, often from a port that is in use."""
        port = PORT if self.chance.random() < 0.9 else PORT + 1
        client = self.chance.randrange(1000, 1010)
        made = self.far.open(
            lambda number: Open(
                number, ChannelKind.MIRROR_TCP, 1 << 16, packed(OTHER[4]), client, packed(OWN[4]), port
            )
        )
        self.channels[made.channel] = Channel(made.channel)

    def app_acts(self) -> None:
        """A socket of the app's does something."""
        with contextlib.suppress(BlockingIOError):
            self.socks.append(self.listener.accept()[0])
        if not self.socks:
            return
        sock = self.chance.choice(self.socks)
        sock.setblocking(False)
        try:
            match self.chance.randrange(6):
                case 0 | 1:
                    sock.send(self.chance.randbytes(self.chance.choice([1, 1000, 100_000])))
                case 2 | 3:
                    sock.recv(1 << 20)
                case 4:
                    sock.shutdown(socket.SHUT_WR)
                case 5:
                    if self.chance.random() < 0.5:
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    sock.close()
                    self.socks.remove(sock)
        except OSError:
            sock.close()
            self.socks.remove(sock)

    def far_acts(self) -> None:
        """The agent does something that the protocol allows."""
        live = [one for one in self.channels.values() if one.open]
        if not live:
            return
        one = self.chance.choice(live)
        match self.chance.randrange(6):
            case 0 | 1 | 2 if not one.eof_sent and one.credit > 0:
                octets = self.chance.randbytes(min(one.credit, self.chance.choice([1, 5000, 65536])))
                one.credit -= len(octets)
                self.far.send(Data(one.number, octets))
            case 3 | 4 if not one.eof_sent:
                one.eof_sent = True
                self.far.send(Eof(one.number))
                self.done(one)
            case 5:
                why = self.chance.choice([errno.ECONNRESET, errno.EPIPE, errno.ETIMEDOUT])
                self.far.send(Reset(one.number, why))
                del self.channels[one.number]

    def done(self, one: Channel) -> None:
        """Both have said their last."""
        if one.eof_sent and one.eof_got:
            del self.channels[one.number]

    def hear(self, message: Message) -> None:
        """What the bridge says."""
        match message:
            case Open(channel=number):
                if self.chance.random() < 0.3:
                    errors = [errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ETIMEDOUT, errno.EADDRNOTAVAIL]
                    self.far.send(Reset(number, self.chance.choice(errors)))
                else:
                    self.channels[number] = Channel(number, open=True, credit=message.window)
                    self.far.send(Opened(number, self.chance.choice([0, 100, 1 << 20])))
            case Opened(channel=number):
                if number in self.channels:
                    self.channels[number].open = True
                    self.channels[number].credit = message.window
            case Data(channel=number, payload=octets):
                if number in self.channels:
                    self.far.send(Grant(number, len(octets)))
            case Eof(channel=number):
                if number in self.channels:
                    self.channels[number].eof_got = True
                    self.done(self.channels[number])
            case Reset(channel=number):
                self.channels.pop(number, None)

    def step(self) -> None:
        """One thing happens."""
        act = self.chance.choices([self.connect, self.mirror, self.app_acts, self.far_acts], [1, 1, 6, 6])[0]
        act()
        while not self.far.quiet():
            try:
                message = self.far.take(Message)
            except queue.Empty:
                return
            self.hear(message)


@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_left_of_a_storm(place: Ground, seed: int) -> None:
    listener = place.listen(4, PORT)
    listener.setblocking(False)
    storm = Storm(place, random.Random(seed), listener, place.far)
    for number in range(STEPS):
        storm.step()
        if number == STEPS // 2:  # the link is cut in the middle of it
            place.far.close()
            while place.message()[0] != "link-gone":
                continue
            place.netstack.link_del(place.link)
            place.far = storm.far = FarEnd()
            place.stack.callback(storm.far.close)
            place.link = place.netstack.link_add(storm.far.bridge_end.detach())
            storm.channels.clear()
    for sock in storm.socks:
        sock.close()
    place.far.close()
    until(lambda: place.netstack.counters().flows == 0, timeout=15)
    counters = place.netstack.counters()
    assert counters.held == 0
    assert counters.ticking == 0
    assert counters.opened > 50
    assert counters.mirrored > 50
