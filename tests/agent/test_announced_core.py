"""When the cluster's people are told which ports a session gets: transcripts by the clock."""

from __future__ import annotations

from agent.announced_core import BEGINS_WITHIN, LINGERS, NOTHING, SETTLES, Announced, Gets, Said
from wire.messages import AppPort, Proto

WEB, MORE = AppPort(Proto.TCP, 8080, 8080), AppPort(Proto.TCP, 9090, 9090)


def settled(announced: Announced) -> list[Said]:
    """What is said when next there is something to say."""
    deadline = announced.deadline()
    assert deadline is not None
    assert announced.due(deadline - 0.001) == []
    return announced.due(deadline)


def begun(*ports: AppPort) -> Announced:
    announced = Announced()
    announced.entered("p", 100.0)
    announced.gets("p", Gets(ports), 100.5)
    assert settled(announced) == [Said("p", Gets(ports), first=True)]
    assert announced.deadline() is None
    return announced


def test_a_beginning_waits_for_its_ports() -> None:
    announced = Announced()
    announced.entered("p", 100.0)
    assert announced.deadline() == 100.0 + BEGINS_WITHIN
    announced.gets("p", Gets((WEB,)), 102.0)
    announced.gets("p", Gets((MORE, WEB)), 102.4)
    assert announced.deadline() == 102.4 + SETTLES
    assert settled(announced) == [Said("p", Gets((WEB, MORE)), first=True)]


def test_a_beginning_without_ports_is_said_all_the_same() -> None:
    announced = Announced()
    announced.entered("p", 100.0)
    assert settled(announced) == [Said("p", NOTHING, first=True)]
    announced.gets("p", Gets((WEB,)), 130.0)
    assert settled(announced) == [Said("p", Gets((WEB,)), first=False)]


def test_an_app_that_is_restarted_is_no_event() -> None:
    announced = begun(WEB)
    for at in range(200, 400, 10):
        announced.gets("p", NOTHING, at)
        assert announced.deadline() == at + LINGERS
        announced.gets("p", Gets((WEB,)), at + 9)
        assert announced.deadline() is None
    assert announced.due(10_000.0) == []


def test_one_that_opens_its_ports_one_after_the_other_is_none_either() -> None:
    announced = begun(WEB, MORE)
    announced.gets("p", NOTHING, 200.0)
    announced.gets("p", Gets((WEB,)), 205.0)
    assert announced.deadline() == 205.0 + LINGERS
    announced.gets("p", Gets((WEB, MORE)), 206.0)
    assert announced.deadline() is None


def test_ports_that_are_left_for_good_are() -> None:
    announced = begun(WEB)
    announced.gets("p", NOTHING, 200.0)
    assert settled(announced) == [Said("p", NOTHING, first=False)]
    assert announced.last() == {"p": NOTHING}


def test_another_port_is_said_soon() -> None:
    announced = begun(WEB)
    announced.gets("p", Gets((MORE,)), 200.0)
    assert announced.deadline() == 200.0 + SETTLES
    assert settled(announced) == [Said("p", Gets((MORE,)), first=False)]


def test_a_container_that_is_restarted_is_the_same_pod() -> None:
    announced = begun(WEB)
    announced.gets("p", NOTHING, 200.0)
    announced.entered("p", 201.0)
    announced.gets("p", Gets((WEB,)), 202.0)
    assert announced.deadline() is None


def test_the_end_says_what_was_not_said() -> None:
    announced = begun(WEB)
    announced.entered("q", 100.0)
    announced.gets("q", Gets((MORE,)), 100.1)
    announced.gets("q", NOTHING, 100.2)  # its targets are let go first
    assert announced.rest() == [Said("q", Gets((MORE,)), first=True)]
    assert announced.rest() == []
    assert announced.last() == {"p": Gets((WEB,)), "q": Gets((MORE,))}


def test_pods_are_each_their_own() -> None:
    announced = begun(WEB)
    announced.entered("q", 300.0)
    assert settled(announced) == [Said("q", NOTHING, first=True)]


def test_what_is_of_a_pod_that_was_not_entered_is_nothing() -> None:
    announced = Announced()
    announced.gets("p", Gets((WEB,)), 100.0)
    assert announced.deadline() is None


def test_what_is_stolen_now_was_mirrored_before() -> None:
    """It is another thing, so it is said soon; and a thief whose app is restarted makes no event."""
    announced = begun(WEB)
    announced.gets("p", Gets(stolen=(WEB,)), 200.0)
    assert announced.deadline() == 200.0 + SETTLES
    assert settled(announced) == [Said("p", Gets(stolen=(WEB,)), first=False)]
    announced.gets("p", NOTHING, 300.0)
    assert announced.deadline() == 300.0 + LINGERS
    announced.gets("p", Gets(stolen=(WEB,)), 301.0)
    assert announced.deadline() is None
