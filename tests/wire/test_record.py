"""A record is what a frozen dataclass with slots is, whoever looks."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest

from wire.record import record


@record
class Ours:
    """Words."""

    KIND: ClassVar[int] = 7
    name: str
    secret: bytes = field(repr=False)
    many: list[int] = field(default_factory=list, compare=False)
    last: int = 3

    @property
    def doubled(self) -> int:
        """A method among the fields."""
        return 2 * self.last


@dataclass(frozen=True, slots=True)
class Theirs:
    """Words."""

    KIND: ClassVar[int] = 7
    name: str
    secret: bytes = field(repr=False)
    many: list[int] = field(default_factory=list, compare=False)
    last: int = 3

    @property
    def doubled(self) -> int:
        """A method among the fields."""
        return 2 * self.last


BOTH = pytest.mark.parametrize("made", [Ours, Theirs])


@BOTH
def test_the_fields_their_defaults_and_the_order_are_kept(made: Any) -> None:
    one = made("a", b"s")
    assert (one.name, one.secret, one.many, one.last, one.doubled, one.KIND) == ("a", b"s", [], 3, 6, 7)
    assert made("a", b"s", [1], 2).last == made(last=2, secret=b"s", name="a").last == 2
    assert made("a", b"s").many is not made("a", b"s").many
    assert [each.name for each in dataclasses.fields(made)] == ["name", "secret", "many", "last"]
    assert dataclasses.replace(one, last=9) == made("a", b"s", [], 9)
    match one:
        case Ours("a", b"s") | Theirs("a", b"s"):
            pass
        case _:
            pytest.fail("it does not match by position")


@BOTH
def test_equal_by_what_is_compared_and_only_to_its_own_class(made: Any) -> None:
    assert made("a", b"s", [1]) == made("a", b"s", [2])
    assert hash(made("a", b"s", [1])) == hash(made("a", b"s", [2]))
    assert made("a", b"s") != made("b", b"s")
    assert made("a", b"s") != ("a", b"s", [], 3)
    assert Ours("a", b"s") != Theirs("a", b"s")


@BOTH
def test_a_secret_is_not_shown(made: Any) -> None:
    assert repr(made("a", b"s")) == f"{made.__name__}(name='a', many=[], last=3)"


@BOTH
def test_nothing_of_it_can_be_changed(made: Any) -> None:
    one = made("a", b"s")
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.name = "b"
    with pytest.raises(dataclasses.FrozenInstanceError):
        del one.name
    with pytest.raises(
        (dataclasses.FrozenInstanceError, TypeError)
    ):  # the standard one's super() misses the new class
        one.other = 1
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'secret'"):
        made("a")
    assert not hasattr(one, "__dict__")


def test_what_a_record_cannot_be_is_refused_where_it_is_defined() -> None:
    class Afterwards:
        one: int

        def __post_init__(self) -> None: ...

    class Derived:
        one: int
        two: int = field(init=False)

    class Compared:
        one: int

        def __eq__(self, other: object) -> bool:
            return other is self

        __hash__ = None  # type: ignore[assignment]

    for cls, why in (
        (Afterwards, "__post_init__"),
        (Derived, "is an argument"),
        (Compared, "__eq__|__hash__"),
    ):
        with pytest.raises(TypeError, match=why):
            record(cls)
