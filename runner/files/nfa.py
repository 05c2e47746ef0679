"""A regular expression as a nondeterministic automaton over octets (Thompson's construction).

The standard library parses (``re``'s own parser); this translates what it found. Refused is what no automaton can
do: look-around, references back, word boundaries, atomic groups. A dot and a class stand for octets: a path need not
be UTF-8. Where ``$`` is it is the end, newline or not, as in RE2 and Rust's regex.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any

MOST_STATES = 20_000
"""Of one automaton: a count such as {1,5000} is written out."""

NEWLINE = 0x0A
EVERY = (1 << 256) - 1
"""A set of octets is an int with a bit for each."""


class NotRegular(ValueError):
    """What in the pattern cannot be, in words."""


@dataclass(slots=True)
class State:
    """``moves`` by sets of octets; ``free`` without one, ``at_begin`` only before the first octet, ``at_end`` only
    after the last."""

    moves: list[tuple[int, int]] = field(default_factory=list)
    free: list[int] = field(default_factory=list)
    at_begin: list[int] = field(default_factory=list)
    at_end: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Automaton:
    """Of several patterns side by side. ``finals[i]`` is pattern i's: once there, it has matched."""

    states: list[State] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    finals: list[int] = field(default_factory=list)

    def add(self, pattern: str) -> None:
        """Found anywhere in what is read, unless it says otherwise. NotRegular; re.error if it is no pattern."""
        parsed = _parser.parse(pattern)
        if parsed.state.flags & (re.MULTILINE | re.VERBOSE | re.LOCALE):
            raise NotRegular("of the flags only (?i) and (?s) mean something in a path")
        anywhere, final = self.state(), self.state()
        self.states[anywhere].moves.append((EVERY, anywhere))
        self.states[final].moves.append((EVERY, final))
        begin, end = self._sequence(parsed, parsed.state.flags)
        self.states[anywhere].free.append(begin)
        self.states[end].free.append(final)
        self.starts.append(anywhere)
        self.finals.append(final)

    def state(self) -> int:
        """A new one's number."""
        if len(self.states) >= MOST_STATES:
            raise NotRegular("it is too large")
        self.states.append(State())
        return len(self.states) - 1

    # --- parts: each is a (begin, end) pair of states ---

    def _sequence(self, items: Iterable[tuple[Any, Any]], flags: int) -> tuple[int, int]:
        begin = end = self.state()
        for kind, value in items:
            first, last = self._item(kind, value, flags)
            self.states[end].free.append(first)
            end = last
        return begin, end

    def _item(self, kind: Any, value: Any, flags: int) -> tuple[int, int]:
        match kind:
            case sre.LITERAL:
                return self._character(value, flags)
            case sre.NOT_LITERAL:
                return self._octet(EVERY & ~cased(bit(value), flags))
            case sre.ANY:
                return self._octet(EVERY if flags & re.DOTALL else EVERY & ~(1 << NEWLINE))
            case sre.IN:
                return self._octet(octet_class(value, flags))
            case sre.BRANCH:
                return self._branch(value[1], flags)
            case sre.SUBPATTERN:
                _, more, less, inner = value
                return self._sequence(inner, (flags | more) & ~less)
            case sre.MAX_REPEAT | sre.MIN_REPEAT:
                least, most, inner = value
                return self._repeat(least, most, inner, flags)
            case sre.AT:
                return self._anchor(value)
            case _:
                words = str(kind).lower().replace("_", " ")
                raise NotRegular(f"{WORDS.get(words, words)} would need more than one pass over the path")

    def _octet(self, octets: int) -> tuple[int, int]:
        begin, end = self.state(), self.state()
        self.states[begin].moves.append((octets, end))
        return begin, end

    def _character(self, code: int, flags: int) -> tuple[int, int]:
        """One, in UTF-8; of other cases only ASCII's are known."""
        if code < 0x80:
            return self._octet(cased(1 << code, flags))
        begin = end = self.state()
        for octet in chr(code).encode(errors="surrogateescape"):
            after = self.state()
            self.states[end].moves.append((1 << octet, after))
            end = after
        return begin, end

    def _branch(self, ways: Iterable[Any], flags: int) -> tuple[int, int]:
        begin, end = self.state(), self.state()
        for way in ways:
            first, last = self._sequence(way, flags)
            self.states[begin].free.append(first)
            self.states[last].free.append(end)
        return begin, end

    def _repeat(self, least: int, most: int, inner: Any, flags: int) -> tuple[int, int]:
        begin = end = self.state()
        for _ in range(least):
            end = self._then(end, inner, flags)
        if most is sre.MAXREPEAT:
            again = self.state()
            self.states[end].free.append(again)
            first, last = self._sequence(inner, flags)
            self.states[again].free.append(first)
            self.states[last].free.append(again)
            return begin, again
        out = self.state()
        self.states[end].free.append(out)
        for _ in range(most - least):
            end = self._then(end, inner, flags)
            self.states[end].free.append(out)
        return begin, out

    def _then(self, end: int, inner: Any, flags: int) -> int:
        first, last = self._sequence(inner, flags)
        self.states[end].free.append(first)
        return last

    def _anchor(self, where: Any) -> tuple[int, int]:
        begin, end = self.state(), self.state()
        match where:
            case sre.AT_BEGINNING | sre.AT_BEGINNING_STRING:
                self.states[begin].at_begin.append(end)
            case sre.AT_END | sre.AT_END_STRING:
                self.states[begin].at_end.append(end)
            case _:
                raise NotRegular("a word boundary would need to look ahead")
        return begin, end


WORDS = {
    "assert": "looking ahead or back",
    "assert not": "looking ahead or back",
    "groupref": "a reference to a group",
    "groupref exists": "a reference to a group",
    "groupref ignore": "a reference to a group",
    "atomic group": "an atomic group",
    "possessive repeat": "a possessive repetition",
}


def bit(code: int) -> int:
    """The set of one character."""
    if code >= 0x80:
        raise NotRegular("in a class and after [^ only ASCII can stand: a path is octets")
    return 1 << code


def cased(octets: int, flags: int) -> int:
    """And the other case of each ASCII letter, with (?i)."""
    if not flags & re.IGNORECASE:
        return octets
    letters = range(0x41, 0x5B)
    for upper in letters:
        both = 1 << upper | 1 << (upper | 0x20)
        if octets & both:
            octets |= both
    return octets


def _octets(test: Callable[[str], bool]) -> int:
    return sum(1 << code for code in range(0x80) if test(chr(code)))


CATEGORIES = {
    sre.CATEGORY_DIGIT: _octets(str.isdigit),
    sre.CATEGORY_SPACE: _octets(str.isspace)
    & ~(0xF << 0x1C),  # \s is [ \t\n\r\f\v], str.isspace has 0x1c to 0x1f too
    sre.CATEGORY_WORD: _octets(lambda one: one.isalnum() or one == "_"),
}
CATEGORIES |= {
    sre.CATEGORY_NOT_DIGIT: EVERY & ~CATEGORIES[sre.CATEGORY_DIGIT],
    sre.CATEGORY_NOT_SPACE: EVERY & ~CATEGORIES[sre.CATEGORY_SPACE],
    sre.CATEGORY_NOT_WORD: EVERY & ~CATEGORIES[sre.CATEGORY_WORD],
}


def octet_class(items: Iterable[tuple[Any, Any]], flags: int) -> int:
    """The set of what stands between brackets."""
    octets, negated = 0, False
    for kind, value in items:
        match kind:
            case sre.NEGATE:
                negated = True
            case sre.LITERAL:
                octets |= bit(value)
            case sre.RANGE:
                low, high = value
                octets |= (bit(high) << 1) - bit(low)
            case sre.CATEGORY:
                octets |= CATEGORIES[value]
    octets = cased(octets, flags)
    return EVERY & ~octets if negated else octets
