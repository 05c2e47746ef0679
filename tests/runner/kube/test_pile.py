"""A buffer that is used again: nobody's octets change after they were given."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from runner.kube.pile import Borrower, Pile


class Keeper(Borrower):
    """Keeps a view of what it is lent, and says so, when told to; else a copy."""

    def __init__(self) -> None:
        self.keep = False
        self.had: list[bytes | memoryview] = []

    def lent(self, octets: memoryview) -> bool:
        self.had.append(octets if self.keep else bytes(octets))
        return self.keep


class Owner(asyncio.Protocol):
    def __init__(self, pile: Pile) -> None:
        self.pile = pile
        self.had: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        self.had.append(data)
        if data == b"more":  # from inside the call
            self.pile.put(b"and more")


@given(st.integers(0, 20), st.lists(st.tuples(st.lists(st.binary(max_size=30)), st.booleans())))
def test_what_was_given_stays(room: int, turns: list[tuple[list[bytes], bool]]) -> None:
    pile, keeper, wanted = Pile(room), Keeper(), []
    for pieces, keep in turns:
        keeper.keep = keep
        for piece in pieces:
            pile.put(memoryview(piece))
        if any(pieces):
            wanted.append(b"".join(pieces))
        pile.give(keeper)
        assert pile.size == 0
    assert [bytes(octets) for octets in keeper.had] == wanted


def test_the_same_buffer_again() -> None:
    """The point of it. A view that is kept pins its buffer, so another one begins."""
    pile, keeper = Pile(64), Keeper()
    pile.put(b"one")
    pile.give(keeper)
    first = pile._octets
    keeper.keep = True
    pile.put(b"two")
    pile.give(keeper)
    assert pile._octets is not first
    pile.put(b"three")
    pile.give(keeper)
    assert [bytes(octets) for octets in keeper.had] == [b"one", b"two", b"three"]
    assert len(first) == 64


def test_more_comes_while_it_is_given() -> None:
    pile = Pile(8)
    owner = Owner(pile)
    pile.put(b"more")
    pile.give(owner)
    pile.give(owner)
    pile.give(owner)
    assert owner.had == [b"more", b"and more"]
