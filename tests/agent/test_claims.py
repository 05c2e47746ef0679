"""Who gets which port, in every case of two."""

from __future__ import annotations

import pytest

from agent.claims import Wish, settle

WHOLE, FILTER = True, False


@pytest.mark.parametrize(
    ("first", "second", "beside"),
    [(WHOLE, WHOLE, False), (WHOLE, FILTER, False), (FILTER, WHOLE, False), (FILTER, FILTER, True)],
)
def test_two_sessions_on_one_port(*, first: bool, second: bool, beside: bool) -> None:
    one, other = Wish(1, 80, first), Wish(2, 80, second)
    found = settle([one, other])
    assert found.granted == ((one, other) if beside else (one,))
    assert found.holders == ({} if beside else {other: one})
    assert settle([other]).granted == (other,)


def test_other_ports_are_other_matters() -> None:
    wishes = [Wish(1, 80, WHOLE), Wish(2, 81, WHOLE), Wish(1, 82, FILTER)]
    assert settle(wishes).granted == tuple(wishes)


def test_who_comes_first_counts_and_not_who_is_older() -> None:
    young, old = Wish(9, 80, WHOLE), Wish(1, 80, WHOLE)
    assert settle([young, old]).holders == {old: young}


def test_a_session_is_in_nobodys_way_but_its_own_is_not_refused() -> None:
    """Two containers of a pod share its ports."""
    twice = [Wish(1, 80, WHOLE), Wish(1, 80, FILTER)]
    assert settle(twice).granted == tuple(twice)
