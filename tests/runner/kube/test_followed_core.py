"""The target's pods through scaling, rollouts, evictions and restarts: transcripts of pods seen and steps out."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from runner.kube.followed_core import AttachTo, Followed, Leave, Prepare, Primary, Say, Step
from runner.kube.pod import Pod
from runner.kube.pod_life_core import TRANSITIONS, Look, State, look_of


def pod(name: str, run: int = 1, *, node: str = "n1", ready: bool = True, **other: object) -> Pod:
    """A pod; ``run`` is which of its container's lives it shows, 0 for none."""
    made = Pod(
        namespace="shop",
        name=name,
        uid=f"uid-{name}",
        node=node,
        container="web",
        container_id=f"{name}-{run}" if run else "",
        ready=ready and bool(run),
        ending=False,
    )
    return replace(made, **other)  # type: ignore[arg-type]


def unscheduled(name: str) -> Pod:
    return pod(name, 0, node="")


def placed(name: str, node: str = "n1") -> Pod:
    return pod(name, 0, node=node)


@dataclass
class Play:
    """A transcript: ``play >> what is seen << step << step``; whatever was not expected fails at the next >>."""

    core: Followed = field(default_factory=lambda: Followed("deploy/web"))
    due: list[Step] = field(default_factory=list)

    def __rshift__(self, seen: Pod | str | list[Pod]) -> Play:
        assert not self.due, f"also: {self.due}"
        match seen:
            case Pod():
                self.due = self.core.saw(seen)
            case str():
                self.due = self.core.gone(f"uid-{seen}")
            case _:
                self.due = self.core.relisted(seen)
        return self

    def __lshift__(self, expected: Step | str) -> Play:
        assert self.due, f"expected {expected!r}, and nothing was left"
        step, *self.due = self.due
        if isinstance(expected, str):
            assert isinstance(step, Say)
            assert expected in step.text
        else:
            assert step == expected
        return self

    def end(self) -> None:
        assert not self.due, f"also: {self.due}"

    def names(self) -> list[str]:
        self.end()
        return [one.name for one in self.core.pods]


def running(*names: str) -> Play:
    """A play in which these take part already."""
    play = Play()
    steps = play.core.first([pod(name) for name in names])
    assert steps == [
        Prepare(tuple(pod(name) for name in names)),
        *(AttachTo(i, pod(name), again=False) for i, name in enumerate(names)),
    ]
    assert play.core.primary == 0
    return play


def test_scaled_from_three_to_five_to_two() -> None:
    play = running("a", "b", "c")
    for index, name in ((3, "d"), (4, "e")):
        play >> unscheduled(name)
        play >> placed(name, "n2") << Prepare((placed(name, "n2"),))
        play >> pod(name, node="n2", ready=False)
        play >> pod(name, node="n2") << AttachTo(index, pod(name, node="n2"), again=False)
    for name, index, left in (("e", 4, 4), ("d", 3, 3), ("b", 1, 2)):
        play >> pod(name, ready=False, ending=True)
        play >> name << Leave(index, pod(name, ready=False, ending=True)) << f"{left} of deploy/web left"
    assert play.names() == ["a", "c"]
    assert play.core.primary == 0


def test_a_rollout_hands_the_primary_s_part_over_before_it_is_gone() -> None:
    play = running("old")
    play >> placed("new") << Prepare((placed("new"),))
    play >> pod("new") << AttachTo(1, pod("new"), again=False)
    ending = pod("old", ending=True)
    play >> ending << Primary(1, pod("new")) << "the way out is through new now"
    play >> replace(ending, ready=False)
    assert play.names() == ["old", "new"], "it still gets its last requests"
    play >> "old" << Leave(0, replace(ending, ready=False)) << "old has gone; 1 of deploy/web left"
    assert play.names() == ["new"]


def test_a_rollout_that_takes_the_old_one_away_first() -> None:
    play = running("old")
    ending = pod("old", ready=False, ending=True)
    play >> ending
    play >> placed("new") << Prepare((placed("new"),))
    play >> "old" << Leave(0, ending) << "no pod of deploy/web is left"
    play >> pod("new") << AttachTo(1, pod("new"), again=False)
    play << Primary(1, pod("new")) << "the way out is through new now"
    assert play.names() == ["new"]


def test_an_evicted_pod_stays_as_an_object_and_is_left() -> None:
    play = running("a", "b")
    evicted = pod("a", 0, over=True)
    play >> evicted << Leave(0, evicted) << "a has gone; 1 of deploy/web left"
    play << Primary(1, pod("b")) << "through b now"
    play >> evicted  # the object is there until somebody deletes it
    play >> "a"
    assert play.names() == ["b"]


def test_a_restart_in_place_keeps_the_index_and_the_primary_s_part() -> None:
    play = running("a", "b")
    play >> pod("a", 0) << "container web of a ended: no way out through it until it is back"
    (
        play
        >> pod("a", 2, ready=False, restarts=1)
        << AttachTo(0, pod("a", 2, ready=False, restarts=1), again=True)
    )
    play >> pod("a", 2, restarts=1)
    play >> pod("b", 0) << "container web of b ended"
    play >> pod("b", 2) << AttachTo(1, pod("b", 2), again=True)
    assert play.core.primary == 0
    play.end()


def test_a_restart_that_was_too_quick_to_be_seen() -> None:
    play = running("a")
    play >> pod("a", 2) << AttachTo(0, pod("a", 2), again=True)
    play >> pod("a", 2)
    play.end()


def test_one_that_crashes_again_and_again_hands_over() -> None:
    play = running("a", "b")
    play >> pod("a", 0) << "container web of a ended"
    play >> pod("a", 2) << AttachTo(0, pod("a", 2), again=True)
    backoff = pod("a", 0, waits="CrashLoopBackOff")
    play >> backoff << "(CrashLoopBackOff)" << Primary(1, pod("b")) << "through b now"
    play >> pod("a", 3) << AttachTo(0, pod("a", 3), again=True)
    assert play.core.primary == 1, "who took over keeps the part"
    play.end()


def test_unready_is_not_gone() -> None:
    play = running("a", "b")
    play >> pod("a", ready=False)
    play >> pod("a")
    assert play.names() == ["a", "b"]
    assert play.core.primary == 0


def test_all_gone_and_back() -> None:
    play = running("a", "b")
    play >> "b" << Leave(1, pod("b")) << "1 of deploy/web left"
    play >> "a" << Leave(0, pod("a")) << "no pod of deploy/web is left: no way out until there is another"
    assert play.names() == []
    play >> placed("c") << Prepare((placed("c"),))
    play >> pod("c") << AttachTo(2, pod("c"), again=False) << Primary(2, pod("c")) << "through c now"
    play >> "c" << Leave(2, pod("c")) << "no pod of deploy/web is left"
    play.end()


def test_a_list_after_missed_events_brings_arrivals_before_departures() -> None:
    play = running("a", "b")
    there = [pod("b", 2), pod("c", node="n2"), placed("d")]
    play >> there << Prepare((there[1], there[2])) << AttachTo(1, there[0], again=True)
    play << AttachTo(2, there[1], again=False) << Leave(0, pod("a")) << "a has gone; 2 of deploy/web left"
    play << Primary(1, there[0]) << "through b now"
    play >> there
    assert play.names() == ["b", "c"]


def test_one_of_a_name_made_anew_is_another_pod() -> None:
    """A StatefulSet's, or --pod's."""
    play = running("db-0")
    play >> "db-0" << Leave(0, pod("db-0")) << "no pod"
    anew = replace(pod("db-0"), uid="uid-other")
    play >> anew << Prepare((anew,)) << AttachTo(1, anew, again=False) << Primary(1, anew) << "through db-0"
    play.end()


def test_what_cannot_be_followed_is_said_once() -> None:
    play = running("a")
    host = pod("h", unfit="it uses its node's network")
    play >> host << "pod h is not followed: it uses its node's network"
    play >> host
    play >> "h"
    assert play.names() == ["a"]


def test_nothing_is_begun_with_one_that_goes() -> None:
    play = running("a")
    play >> pod("b", ending=True)
    play >> "b"
    play >> placed("c") << Prepare((placed("c"),))
    play >> "c"
    play >> "never-seen"
    assert play.names() == ["a"]


def test_a_primary_whose_agent_is_out_of_reach_is_stood_in_for() -> None:
    play = running("a", "b")
    play.due = play.core.cut_off("uid-a")
    play << Primary(1, pod("b")) << "through b now"
    play.due = play.core.cut_off("uid-b")
    play.end()
    assert play.core.primary == 1, "there is nobody else"
    play.due = play.core.cut_off("uid-a", off=False)
    play << Primary(0, pod("a")) << "through a now"
    play.end()


def test_who_takes_over_is_ready() -> None:
    play = running("a", "b", "c")
    play >> pod("b", ready=False)
    play >> "a" << Leave(0, pod("a")) << "2 of deploy/web left" << Primary(2, pod("c")) << "through c now"
    play.end()


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("look", Look)
def test_every_state_answers_every_look(state: State, look: Look) -> None:
    following, _ = TRANSITIONS[state, look]
    assert (following is None) == (
        look is Look.GONE or (look is Look.OVER and state in (State.ATTACHED, State.DOWN))
    )


@pytest.mark.parametrize(
    ("seen", "look"),
    [
        (unscheduled("a"), Look.UNPLACED),
        (placed("a"), Look.PLACED),
        (pod("a", ready=False), Look.RUNS),
        (pod("a"), Look.READY),
        (pod("a", ending=True), Look.ENDING),
        (pod("a", 0, ending=True), Look.OVER),
        (pod("a", 0, over=True), Look.OVER),
        (pod("a", unfit="why"), Look.UNFIT),
    ],
)
def test_what_a_look_shows(seen: Pod, look: Look) -> None:
    assert look_of(seen) is look
