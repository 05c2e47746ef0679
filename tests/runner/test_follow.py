"""The target's containers through restarts, replacements and scaling: transcripts of events in and steps out."""

from __future__ import annotations

from runner.follow import AttachTo, Followed, Leave, Say
from runner.targets import PROJECT, SERVICE, Container, Target

LABELS = {PROJECT: "shop", SERVICE: "api"}


def container(name: str) -> Container:
    return Container(id=f"id-{name}", name=name, state="running", image="i", network_mode="bridge")


def followed(*names: str) -> Followed:
    return Followed(Target("compose/api", tuple(container(name) for name in names), "shop", "api"))


def test_all_are_attached_at_first_the_primary_under_0() -> None:
    assert followed("a", "b").first() == [
        AttachTo(0, "id-a", "a", again=False),
        AttachTo(1, "id-b", "b", again=False),
    ]


def test_a_restart_is_the_same_index_again() -> None:
    play = followed("a")
    (said,) = play.died("id-a")
    assert isinstance(said, Say)
    assert "no way out through it until it is back" in said.text
    assert play.started("id-a", "a", LABELS) == [AttachTo(0, "id-a", "a", again=True)]


def test_a_start_that_was_known_is_nothing() -> None:
    assert followed("a").started("id-a", "a", LABELS) == []


def test_scaled_up_is_a_new_index_and_down_is_left() -> None:
    play = followed("a")
    assert play.started("id-b", "b", LABELS) == [AttachTo(1, "id-b", "b", again=False)]
    assert play.up == 2
    assert len(play.died("id-b")) == 1
    assert play.destroyed("id-b") == [Leave(1, "b")]
    assert play.up == 1
    assert play.started("id-c", "c", LABELS) == [AttachTo(1, "id-c", "c", again=False)]


def test_a_recreated_primary_takes_the_primary_s_place() -> None:
    play = followed("a", "b")
    play.died("id-a")
    (said,) = play.destroyed("id-a")
    assert isinstance(said, Say)
    assert "keeps running" in said.text
    assert play.started("id-a2", "a", LABELS) == [AttachTo(0, "id-a2", "a", again=True)]


def test_a_recreated_replica_takes_its_own_place() -> None:
    play = followed("a", "b", "c")
    play.died("id-b")
    assert play.started("id-b2", "b", LABELS) == [AttachTo(1, "id-b2", "b", again=True)]


def test_strangers_are_none_of_ours() -> None:
    play = followed("a")
    assert play.started("id-x", "x", {}) == []
    assert play.died("id-x") == []
    assert play.destroyed("id-x") == []


def test_a_lone_container_made_anew_under_its_name_is_followed() -> None:
    play = Followed(Target("container/solo", (container("solo"),)))
    play.died("id-solo")
    play.destroyed("id-solo")
    assert play.started("id-new", "solo", {}) == [AttachTo(0, "id-new", "solo", again=True)]
