"""The border between a field's Python value and its msgpack value: made once from annotations, checks
everything.

A shape knows nothing of frames, tags or octets on the way. ``pack`` refuses our own mistakes with
``Unsendable``; ``unpack`` refuses the peer's with ``BadValue``, a sentence that names the field.
"""

from __future__ import annotations

import dataclasses
import typing
from typing import Any, Protocol

from wire.kinds import MANY, Octets, Text, Whole


class Unsendable(ValueError):
    """A message that must not be sent: our own bug."""


class BadValue(Exception):
    """What the peer sent is not what the field holds. ``args[0]`` is a sentence."""


class Shape(Protocol):
    """One field's two directions."""

    def pack(self, value: Any) -> object:
        """The plain value msgpack writes; raises ValueError."""

    def unpack(self, plain: object) -> object:
        """The value the dataclass holds; raises BadValue."""


class _Whole:
    def __init__(self, bound: Whole) -> None:
        self.low, self.high = bound.low, bound.high

    def unpack(self, plain: object) -> int:
        if type(plain) is not int:  # bool is an int to isinstance
            raise BadValue(f"{_named(plain)} where an integer belongs")
        if not self.low <= plain <= self.high:
            raise BadValue(f"{plain} is not within {self.low}..{self.high}")
        return plain

    def pack(self, value: Any) -> object:
        if isinstance(value, bool) or not isinstance(value, int):
            raise Unsendable(f"{_named(value)} where an integer belongs")
        number = int(value)  # an IntEnum travels as its number
        if not self.low <= number <= self.high:
            raise Unsendable(f"{number} is not within {self.low}..{self.high}")
        return number


class _Truth:
    def unpack(self, plain: object) -> bool:
        if not isinstance(plain, bool):
            raise BadValue(f"{_named(plain)} where true or false belongs")
        return plain

    def pack(self, value: Any) -> object:
        if not isinstance(value, bool):
            raise Unsendable(f"{_named(value)} where a bool belongs")
        return value


class _Text:
    def __init__(self, bound: Text) -> None:
        self.limit, self.prose = bound.limit, bound.prose

    def unpack(self, plain: object) -> str:
        if not isinstance(plain, str):
            raise BadValue(f"{_named(plain)} where text belongs")
        # msgpack has already refused what is not UTF-8; only the length in octets is left to ask.
        if len(plain) > self.limit or len(plain.encode()) > self.limit:
            raise BadValue(f"text longer than {self.limit} octets")
        if "\0" in plain:
            raise BadValue("text with a NUL in it")
        return plain

    def pack(self, value: Any) -> object:
        if not isinstance(value, str):
            raise Unsendable(f"{_named(value)} where a str belongs")
        if self.prose:
            whole = value.encode("utf-8", "replace").replace(b"\0", b"?")
            return whole[: self.limit].decode("utf-8", "ignore")
        try:
            octets = value.encode()
        except UnicodeEncodeError as error:
            raise Unsendable(f"text that is not Unicode: {error.reason}") from None
        if len(octets) > self.limit:
            raise Unsendable(f"text longer than {self.limit} octets")
        if b"\0" in octets:
            raise Unsendable("text with a NUL in it")
        return value


class _Octets:
    def __init__(self, bound: Octets) -> None:
        self.limit, self.lengths = bound.limit, bound.lengths

    def unpack(self, plain: object) -> bytes:
        if not isinstance(plain, bytes):
            raise BadValue(f"{_named(plain)} where octets belong")
        if trouble := self._trouble(len(plain)):
            raise BadValue(trouble)
        return plain

    def pack(self, value: Any) -> object:
        if not isinstance(value, bytes):
            raise Unsendable(f"{_named(value)} where bytes belong")
        if trouble := self._trouble(len(value)):
            raise Unsendable(trouble)
        return value

    def _trouble(self, length: int) -> str:
        if self.lengths and length not in self.lengths:
            return f"{length} octets where {' or '.join(map(str, self.lengths))} belong"
        return f"{length} octets where at most {self.limit} belong" if length > self.limit else ""


class _Many:
    """A tuple of one shape."""

    def __init__(self, element: Shape) -> None:
        self.element = element

    def unpack(self, plain: object) -> tuple[object, ...]:
        if not isinstance(plain, tuple):
            raise BadValue(f"{_named(plain)} where an array belongs")
        if len(plain) > MANY:
            raise BadValue(f"{len(plain)} elements where at most {MANY} belong")
        one = self.element.unpack
        return tuple([one(p) for p in plain])

    def pack(self, value: Any) -> object:
        if not isinstance(value, tuple):
            raise Unsendable(f"{_named(value)} where a tuple belongs")
        if len(value) > MANY:
            raise Unsendable(f"{len(value)} elements where at most {MANY} belong")
        one = self.element.pack
        return [one(v) for v in value]


class Record:
    """A dataclass as an array of its fields in order. Trailing fields may be missing if they have defaults,
    or unknown.
    """

    def __init__(self, cls: type[Any]) -> None:
        self.cls = cls
        self.names: list[str] = []
        self.shapes: list[Shape] = []
        self.needed = 0
        hints = typing.get_type_hints(cls, include_extras=True)
        for field in dataclasses.fields(cls):
            self.names.append(field.name)
            self.shapes.append(shape_of(hints[field.name], f"{cls.__name__}.{field.name}"))
            if field.default is dataclasses.MISSING:
                self.needed = len(self.names)

    def unpack(self, plain: object) -> Any:
        if not isinstance(plain, tuple):
            raise BadValue(f"{_named(plain)} where the array of one {self.cls.__name__} belongs")
        return self.unpack_from(plain, 0)

    def unpack_from(self, plain: tuple[object, ...], start: int) -> Any:
        """The instance whose fields begin at ``plain[start]``."""
        if len(plain) - start < self.needed:
            raise BadValue(f"it ends before its field '{self.names[len(plain) - start]}'")
        values: list[object] = []
        for name, shape, value in zip(self.names, self.shapes, plain[start:], strict=False):
            try:
                values.append(shape.unpack(value))
            except BadValue as error:
                raise BadValue(f"{name}: {error}") from None
        return self.cls(*values)

    def pack(self, value: Any) -> list[object]:
        if type(value) is not self.cls:
            raise Unsendable(f"{_named(value)} where one {self.cls.__name__} belongs")
        packed: list[object] = []
        for name, shape in zip(self.names, self.shapes, strict=True):
            try:
                packed.append(shape.pack(getattr(value, name)))
            except Unsendable as error:
                raise Unsendable(f"{name}: {error}") from None
        return packed


def shape_of(hint: Any, where: str) -> Shape:
    """The shape of an annotation. TypeError for one the wire does not know: whoever adds a message learns it
    from the first test.
    """
    if typing.get_origin(hint) is typing.Annotated:
        match hint.__metadata__:
            case (Whole() as bound,):
                return _Whole(bound)
            case (Text() as bound,):
                return _Text(bound)
            case (Octets() as bound,):
                return _Octets(bound)
    if hint is bool:
        return _Truth()
    if typing.get_origin(hint) is tuple and typing.get_args(hint)[1:] == (...,):
        return _Many(shape_of(typing.get_args(hint)[0], where))
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return Record(hint)
    raise TypeError(f"{where}: {hint} has no bound; give it one of wire.kinds")


def _named(value: object) -> str:
    """What a value is, without showing it: payloads and environments are never put into errors."""
    match value:
        case None:
            return "nil"
        case tuple() | list():
            return "an array"
        case dict():
            return "a map"
        case bytes():
            return "octets"
        case str():
            return "text"
        case int() if not isinstance(value, bool):
            return "an integer"
        case _:
            return f"a {type(value).__name__}"
