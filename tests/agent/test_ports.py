"""Which ports take part: the app listens, and the target does too, or somebody said so."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.ports import MOST, mirrored
from wire.messages import AppPort, Port

TCP, UDP = 6, 17


def test_both_must_listen() -> None:
    wanted = [AppPort(TCP, 8080, 8080), AppPort(TCP, 5005, 5005)]
    assert mirrored(wanted, [Port(TCP, 8080), Port(TCP, 22)]) == (AppPort(TCP, 8080, 8080),)


def test_a_declared_port_need_not_listen_there() -> None:
    wanted = [AppPort(TCP, 3000, 80, declared=True)]
    assert mirrored(wanted, []) == tuple(wanted)


def test_the_protocols_are_apart() -> None:
    assert mirrored([AppPort(UDP, 53, 53)], [Port(TCP, 53)]) == ()


def test_a_mapped_port_is_compared_at_the_target() -> None:
    assert mirrored([AppPort(TCP, 3000, 80)], [Port(TCP, 3000)]) == ()
    assert mirrored([AppPort(TCP, 3000, 80)], [Port(TCP, 80)]) == (AppPort(TCP, 3000, 80),)


def test_one_port_of_the_target_goes_to_one_of_the_app() -> None:
    wanted = [AppPort(TCP, 3000, 80), AppPort(TCP, 80, 80)]
    assert mirrored(wanted, [Port(TCP, 80)]) == (AppPort(TCP, 3000, 80),)


def test_nothing_is_nothing() -> None:
    odd = [
        AppPort(TCP, 0, 80, declared=True),
        AppPort(TCP, 80, 0, declared=True),
        AppPort(1, 8, 8, declared=True),
    ]
    assert mirrored(odd, [Port(TCP, 80)]) == ()


PORTS = st.builds(
    AppPort, st.sampled_from([TCP, UDP]), st.integers(0, 400), st.integers(0, 400), st.booleans()
)
LISTENS = st.builds(Port, st.sampled_from([TCP, UDP]), st.integers(0, 400))


@given(st.lists(PORTS, max_size=600), st.lists(LISTENS))
def test_always_sorted_bounded_and_wanted(wanted: list[AppPort], listens: list[Port]) -> None:
    chosen = mirrored(wanted, listens)
    keys = [(port.proto, port.target) for port in chosen]
    assert keys == sorted(set(keys))
    assert len(chosen) <= MOST
    assert set(chosen) <= set(wanted)
