"""Counts of one port, from several sides."""

from __future__ import annotations

from wire.counts import added
from wire.messages import Chosen, Stolen


def test_numbers_add_up_and_the_last_word_stands() -> None:
    one = Stolen(1, 80, seen=5, matched=2, stolen=3, older=1, tls=4, last="GET /a")
    other = Stolen(2, 80, seen=10, matched=1, older=2)
    assert added(one, other) == Stolen(2, 80, seen=15, matched=3, stolen=3, older=3, tls=4, last="GET /a")
    assert added(Chosen(1, 80, 1, last="GET /a"), Chosen(1, 80, 2, 1, last="GET /b")) == Chosen(
        1, 80, 3, 1, last="GET /b"
    )


def test_the_first_is_itself() -> None:
    assert added(None, Chosen(1, 80, 7)) == Chosen(1, 80, 7)
