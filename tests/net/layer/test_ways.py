"""tun0's addresses, routes and rules as the kernel shows them, and their change when the target has others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from layer import tun, ways
from tests.net.layer.field import packed
from tests.net.layer.space import Space
from wire.messages import Address

pytestmark = pytest.mark.net

OLD = (Address(packed("198.18.5.2"), 16), Address(packed("fd00:198:18::5"), 64))
NEW = (Address(packed("198.18.5.9"), 16), Address(packed("fd00:198:18::9"), 64))


class Place:
    """A namespace with tun0 that is not prepared yet."""

    def __init__(self, stack: ExitStack) -> None:
        self.space = Space()
        stack.callback(self.space.close)
        with self.space.inside():
            stack.callback(os.close, tun.make())

    def ip(self, *words: str) -> str:
        done = self.space.run(["ip", *words])
        assert done.returncode == 0, done.stderr
        return done.stdout

    def source(self, to: str) -> str:
        words = self.ip("route", "get", to).split()
        return words[words.index("src") + 1]


@pytest.fixture
def place() -> Iterator[Place]:
    with ExitStack() as stack:
        yield Place(stack)


def test_prepared(place: Place) -> None:
    loopback = (Address(packed("127.0.0.1"), 8), Address(packed("::1"), 128), Address(packed("fe80::1"), 64))
    with place.space.inside():
        ways.prepare(OLD + loopback)
    addresses = place.ip("-brief", "address", "show", "dev", "tun0").split()[2:]
    assert addresses == ["198.18.5.2/16", "fd00:198:18::5/64"]
    assert "mtu 65520" in place.ip("link", "show", "tun0")
    assert "lo               UNKNOWN" in place.ip("-brief", "link", "show", "lo")
    for family in ("-4", "-6"):
        rules = place.ip(family, "rule").splitlines()
        assert [line.split(":")[0] for line in rules[:2]] == ["10", "20"]
        assert "fwmark 0x6d72/0x6d72 lookup 27000" in rules[0]
        assert "lookup local" in rules[1]
        assert "default dev tun0" in place.ip(family, "route", "show", "table", "27000")
        assert "default dev tun0" in place.ip(family, "route")


def test_no_network_of_a_family_is_no_route(place: Place) -> None:
    with place.space.inside():
        ways.prepare(OLD[:1])
    assert "default" not in place.ip("-6", "route")
    assert place.space.run(["ip", "route", "get", "fd00::1"]).returncode != 0


def test_new_addresses_are_the_source_and_old_ones_stay_until_removed(place: Place) -> None:
    with place.space.inside():
        ways.prepare(OLD)
        gone = ways.replace(OLD, NEW)
    assert gone == OLD
    addresses = place.ip("-brief", "address", "show", "dev", "tun0").split()[2:]
    assert set(addresses) == {"198.18.5.2/32", "198.18.5.9/16", "fd00:198:18::5/64", "fd00:198:18::9/64"}
    for to in ("198.18.0.1", "198.19.0.1"):
        assert place.source(to) == "198.18.5.9"
    for to in ("fd00:198:18::1", "fd00:198:18:1::1"):
        assert place.source(to) == "fd00:198:18::9"
    with place.space.inside():
        ways.remove(gone)
    assert set(place.ip("-brief", "address", "show", "dev", "tun0").split()[2:]) == {
        "198.18.5.9/16",
        "fd00:198:18::9/64",
    }


def test_the_same_addresses_change_nothing(place: Place) -> None:
    with place.space.inside():
        ways.prepare(OLD)
        before = place.ip("address")
        assert ways.replace(OLD, OLD) == ()
    assert place.ip("address") == before


def test_what_the_kernel_refuses_is_a_sentence(place: Place) -> None:
    with place.space.inside(), pytest.raises(OSError, match=r"add 198\.18\.5\.2/77: Invalid argument"):
        ways.prepare([Address(packed("198.18.5.2"), 77)])
