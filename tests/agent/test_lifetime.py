"""When the agent ends by itself."""

from __future__ import annotations

from agent.lifetime import FIRST_WITHIN, LINGERS, Lifetime


def test_if_nobody_comes() -> None:
    assert Lifetime(began=100.0).deadline() == 100.0 + FIRST_WITHIN


def test_never_while_there_is_a_session() -> None:
    life = Lifetime(began=100.0)
    life.session_began(1)
    life.session_began(2)
    life.session_ended(1, 200.0)
    assert life.deadline() is None


def test_soon_after_the_last() -> None:
    life = Lifetime(began=100.0)
    life.session_began(1)
    life.session_ended(1, 200.0)
    assert life.deadline() == 200.0 + LINGERS


def test_one_that_follows_at_once_keeps_it() -> None:
    life = Lifetime(began=100.0)
    life.session_began(1)
    life.session_ended(1, 200.0)
    life.session_began(2)
    assert life.deadline() is None
    life.session_ended(2, 300.0)
    assert life.deadline() == 300.0 + LINGERS


def test_as_long_as_asked() -> None:
    life = Lifetime(began=100.0, first=60.0, idle=30.0)
    assert life.deadline() == 160.0
    life.session_began(1)
    life.session_ended(1, 200.0)
    assert life.deadline() == 230.0


def test_for_ever_where_it_was_installed() -> None:
    life = Lifetime(began=100.0, idle=0.0)
    assert life.deadline() is None
    life.session_began(1)
    life.session_ended(1, 200.0)
    assert life.deadline() is None
