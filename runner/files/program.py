"""A pattern that says what of a path is to be kept: a program, run once over the path by layer/preload/mapped.c.

A table (``dfa``) says whether a path matches, and not where its groups are; so a mapping by pattern is a program whose
threads run side by side, each with the places it has passed (Pike's; Cox, *Regular Expression Matching: the Virtual
Machine Approach*). Which of several ways through a path counts is as in ``re``: the one that is tried first there.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any

from runner.files.nfa import EVERY, NEWLINE, WORDS, NotRegular, bit, cased, octet_class
from wire.record import record

MOST_STEPS = 200
MOST_GROUPS = 5
"""What mapped.c has room for on a stack."""


class Op(IntEnum):
    """A step; where nothing else is said, the next one follows."""

    OCTETS = 0  # of set x, or the thread ends
    SPLIT = 1  # goes on at x, and if that comes to nothing, at y
    SAVE = 2  # this place is slot x: 2n begins group n, 2n + 1 ends it; 0 is all that matched
    BEGIN = 3  # only here
    END = 4
    MATCH = 5


@record
class Program:
    """``sets`` are ints with a bit for each octet. ``parts``: the new path, as texts and numbers of groups."""

    steps: tuple[tuple[Op, int, int], ...]
    sets: tuple[int, ...]
    parts: tuple[bytes | int, ...]

    def mapped(self, path: bytes) -> bytes | None:
        """What stands for the path; what is behind the match stays. None: it does not match."""
        slots = self._walk(path)
        if slots is None:
            return None
        kept = [
            one if isinstance(one, bytes) else path[slots[2 * one] : slots[2 * one + 1]] for one in self.parts
        ]
        return b"".join(kept) + path[slots[1] :]

    def _walk(self, path: bytes) -> list[int] | None:
        found: list[int] | None = None
        threads = self._closed([(0, [0] * (2 * MOST_GROUPS + 2))], 0, len(path))
        for at in range(len(path) + 1):
            after: list[tuple[int, list[int]]] = []
            for pc, slots in threads:
                op, x, _ = self.steps[pc]
                if op is Op.MATCH:
                    found = slots
                    break
                if at < len(path) and self.sets[x] >> path[at] & 1:
                    after.append((pc + 1, slots))
            threads = self._closed(after, at + 1, len(path))
        return found

    def _closed(
        self, threads: Iterable[tuple[int, list[int]]], at: int, end: int
    ) -> list[tuple[int, list[int]]]:
        """Each where it next takes an octet or matches; of several at one step the first."""
        seen: set[int] = set()
        closed: list[tuple[int, list[int]]] = []
        stack = list(threads)[::-1]
        while stack:
            pc, slots = stack.pop()
            if pc in seen:
                continue
            seen.add(pc)
            op, x, y = self.steps[pc]
            if op is Op.SPLIT:
                stack += [(y, slots), (x, slots)]
            elif op is Op.SAVE:
                stack.append((pc + 1, [*slots[:x], at, *slots[x + 1 :]]))
            elif op in (Op.BEGIN, Op.END):
                if at == (0 if op is Op.BEGIN else end):
                    stack.append((pc + 1, slots))
            else:
                closed.append((pc, slots))
        return closed

    def packed(self) -> bytes:
        """As mapped.c reads it, all numbers u16 and little-endian: how many steps, sets and octets of parts; the steps,
        three numbers each; the sets, 32 octets each; the parts, each a group (0: a text) and, of a text, its length and
        octets."""
        parts = b"".join(
            struct.pack("<HH", 0, len(one)) + one if isinstance(one, bytes) else struct.pack("<HH", one, 0)
            for one in self.parts
        )
        head = struct.pack("<HHH", len(self.steps), len(self.sets), len(parts))
        steps = b"".join(struct.pack("<HHH", *step) for step in self.steps)
        return head + steps + b"".join(one.to_bytes(32, "little") for one in self.sets) + parts


def compiled(pattern: str, template: str) -> Program:
    """Of a pattern that ``re`` takes and a path with ``\\1`` to ``\\5`` in it. NotRegular, re.error."""
    parsed = _parser.parse(pattern)
    if parsed.state.flags & (re.MULTILINE | re.VERBOSE | re.LOCALE):
        raise NotRegular("of the flags only (?i) and (?s) mean something in a path")
    groups = parsed.state.groups - 1
    if groups > MOST_GROUPS:
        raise NotRegular(f"of groups that are kept there may be {MOST_GROUPS}; write the others (?:…)")
    made = _Steps()
    made.group(0, parsed, parsed.state.flags)
    made.step(Op.MATCH)
    parts: list[bytes | int] = []
    for text in filter(None, re.split(r"(\\[0-9])", template)):
        if not re.fullmatch(r"\\[0-9]", text):
            parts.append(text.encode(errors="surrogateescape"))
        elif 1 <= int(text[1]) <= groups:
            parts.append(int(text[1]))
        else:
            raise NotRegular(f"it has no group {text[1]}")
    return Program(tuple(map(tuple, made.steps)), tuple(made.sets), tuple(parts))


@dataclass(slots=True)
class _Steps:
    steps: list[list[Any]] = field(default_factory=list)
    sets: list[int] = field(default_factory=list)

    def step(self, op: Op, x: int = 0, y: int = 0) -> list[Any]:
        if len(self.steps) >= MOST_STEPS:
            raise NotRegular(f"it needs more than {MOST_STEPS} steps")
        self.steps.append([op, x, y])
        return self.steps[-1]

    def octets(self, octets: int) -> None:
        if octets not in self.sets:
            self.sets.append(octets)
        self.step(Op.OCTETS, self.sets.index(octets))

    def group(self, number: int | None, items: Iterable[tuple[Any, Any]], flags: int) -> None:
        if number is not None:
            self.step(Op.SAVE, 2 * number)
        for kind, value in items:
            self._item(kind, value, flags)
        if number is not None:
            self.step(Op.SAVE, 2 * number + 1)

    def _item(self, kind: Any, value: Any, flags: int) -> None:
        match kind:
            case sre.LITERAL if value < 0x80:
                self.octets(cased(bit(value), flags))
            case sre.LITERAL:
                for octet in chr(value).encode(errors="surrogateescape"):
                    self.octets(1 << octet)
            case sre.NOT_LITERAL:
                self.octets(EVERY & ~cased(bit(value), flags))
            case sre.ANY:
                self.octets(EVERY if flags & re.DOTALL else EVERY & ~(1 << NEWLINE))
            case sre.IN:
                self.octets(octet_class(value, flags))
            case sre.BRANCH:
                self._branch(value[1], flags)
            case sre.SUBPATTERN:
                number, more, less, inner = value
                self.group(number, inner, (flags | more) & ~less)
            case sre.MAX_REPEAT | sre.MIN_REPEAT:
                least, most, inner = value
                self._repeat(least, most, inner, flags, greedy=kind is sre.MAX_REPEAT)
            case sre.AT if value in (sre.AT_BEGINNING, sre.AT_BEGINNING_STRING):
                self.step(Op.BEGIN)
            case sre.AT if value in (sre.AT_END, sre.AT_END_STRING):
                self.step(Op.END)
            case _:
                words = str(kind).lower().replace("_", " ")
                raise NotRegular(f"{WORDS.get(words, words)} would need more than one pass over the path")

    def _branch(self, ways: list[Any], flags: int) -> None:
        ends = []
        for way in ways[:-1]:
            fork = self.step(Op.SPLIT)
            fork[1] = len(self.steps)
            self.group(None, way, flags)
            ends.append(self.step(Op.SPLIT))
            fork[2] = len(self.steps)
        self.group(None, ways[-1], flags)
        for end in ends:
            end[1:] = [len(self.steps)] * 2

    def _repeat(self, least: int, most: Any, inner: Any, flags: int, *, greedy: bool) -> None:
        for _ in range(least):
            self.group(None, inner, flags)
        forks = []
        for _ in range(1 if most is sre.MAXREPEAT else most - least):
            at = len(self.steps)
            forks.append(self.step(Op.SPLIT))
            self.group(None, inner, flags)
            if most is sre.MAXREPEAT:
                self.step(Op.SPLIT, at, at)
            forks[-1][1] = at + 1
        for fork in forks:
            fork[2] = len(self.steps)
            if not greedy:
                fork[1], fork[2] = fork[2], fork[1]
