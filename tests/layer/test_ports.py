"""What listening means: to the rules, to the agent, to people."""

from __future__ import annotations

from layer.ports import Listener, Wishes, relay_needs, reported, sockets, wanted
from layer.rules import Sockets
from wire.messages import AppPort, Port

TCP, UDP = 6, 17


def wide(port: int, proto: int = TCP, family: int = 10) -> Listener:
    return Listener(proto, port, False, family)


def loop(port: int, proto: int = TCP, family: int = 4) -> Listener:
    return Listener(proto, port, True, family)


def test_a_wildcard_listener_needs_nothing() -> None:
    assert sockets([wide(80)], {}, True, Sockets()) == Sockets(tcp=frozenset({80}))
    assert relay_needs([wide(80), wide(81, family=4)], True) == {}


def test_loopback_alone_is_translated_and_stays_tracked() -> None:
    first = sockets([loop(80), loop(53, UDP)], {}, False, Sockets())
    assert first == Sockets(
        tcp=frozenset({80}),
        udp=frozenset({53}),
        loop_tcp=frozenset({80}),
        loop_udp=frozenset({53}),
        tracked_tcp=frozenset({80}),
        tracked_udp=frozenset({53}),
    )
    after = sockets([], {}, False, first)
    assert after == Sockets(tracked_tcp=frozenset({80}), tracked_udp=frozenset({53}))


def test_loopback_beside_a_wildcard_is_not_translated() -> None:
    assert sockets([loop(80), wide(80)], {}, True, Sockets()).loop_tcp == frozenset()
    assert sockets([loop(80), wide(80, family=4)], {}, True, Sockets()).loop_tcp == frozenset()
    # A wildcard of IPv6 alone does nothing for IPv4's clients.
    assert sockets([loop(80), wide(80, family=6)], {}, True, Sockets()).loop_tcp == frozenset({80})


def test_relays_where_no_translation_helps() -> None:
    only6 = loop(80, family=6)
    assert relay_needs([only6], has_v6=False) == {80: "::1"}
    assert relay_needs([only6, loop(80)], has_v6=False) == {}
    assert relay_needs([only6, loop(80)], has_v6=True) == {80: "::1"}
    assert relay_needs([loop(80)], has_v6=True) == {80: "127.0.0.1"}
    assert relay_needs([loop(80)], has_v6=False) == {}
    assert relay_needs([only6, wide(80, family=6)], has_v6=True) == {}
    assert relay_needs([loop(53, UDP, 6)], has_v6=True) == {}


def test_relayed_ports_by_the_clients_family() -> None:
    only6, both = loop(80, family=6), [loop(81, family=6), loop(81)]
    got = sockets([only6, *both], {80: 40000, 81: 40001}, True, Sockets())
    assert got.relayed4 == {(80, 40000)}
    assert got.relayed6 == {(80, 40000), (81, 40001)}
    assert got.loop_tcp == {81}
    assert got.tracked_tcp == {80, 81}
    assert got.relays == {40000, 40001}
    later = sockets([], {80: 40000, 81: 40001}, True, got)
    assert (later.relayed4, later.relayed6, later.relays) == (frozenset(), frozenset(), got.relays)


def test_a_port_wants_its_own_number() -> None:
    assert wanted([wide(80), wide(53, UDP)], Wishes()) == (AppPort(TCP, 80, 80), AppPort(UDP, 53, 53))


def test_a_mapping_takes_the_targets_port_alone() -> None:
    wishes = Wishes(mapped=(AppPort(TCP, 8080, 80), AppPort(TCP, 9090, 90)))
    assert wanted([wide(8080), wide(80)], wishes) == (AppPort(TCP, 8080, 80, True),)
    assert wanted([wide(80)], wishes) == ()


def test_one_port_may_take_several() -> None:
    wishes = Wishes(mapped=(AppPort(TCP, 8080, 80), AppPort(TCP, 8080, 81)))
    assert wanted([wide(8080)], wishes) == (AppPort(TCP, 8080, 80, True), AppPort(TCP, 8080, 81, True))


def test_ignored_and_declared() -> None:
    wishes = Wishes(ignored=(9229,), declared=(Port(TCP, 3000), Port(UDP, 40000)))
    listeners = [wide(3000), wide(9229), wide(4000), wide(40000, UDP), wide(40001, UDP)]
    assert wanted(listeners, wishes) == (
        AppPort(TCP, 3000, 3000, True),
        AppPort(TCP, 4000, 4000),
        AppPort(UDP, 40000, 40000, True),
    )


def test_people_see_a_port_once() -> None:
    assert reported([loop(80), wide(80), loop(81), loop(81, family=6), wide(50000, UDP), wide(50000)]) == (
        Port(TCP, 80),
        Port(TCP, 81, True),
        Port(TCP, 50000),
    )
