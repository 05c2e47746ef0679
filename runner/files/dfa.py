"""Patterns in order become one table: a path is read octet by octet, and the state it ends in names the first
pattern that matched. What walks it allocates nothing and looks at each octet once (``layer/preload/``).

Subset construction over the octets' classes (Aho, Lam, Sethi, Ullman, *Compilers*, 3.7). Once a pattern has matched for
good, those after it are dropped from the state: they cannot win any more, and most of the states go with them.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence

from runner.files.nfa import EVERY, Automaton, NotRegular, State
from wire.record import record

MOST_STATES = 1 << 15
"""So that a table stays below some megabytes."""

NONE = 0xFFFF
"""The label of a state in which no pattern has matched."""

MAGIC = b"MRPT0002"


@record
class Table:
    """``classes`` has an octet's class, ``moves[state * width + class]`` the next state; state 0 is the first.
    ``labels[state]``: the first pattern that has matched if the path ends here, or NONE."""

    classes: bytes
    width: int
    moves: Sequence[int]
    labels: Sequence[int]

    def match(self, path: bytes) -> int | None:
        """The first pattern that is found in the path."""
        state = 0
        for octet in path:
            state = self.moves[state * self.width + self.classes[octet]]
        return None if self.labels[state] == NONE else self.labels[state]

    def packed(self) -> bytes:
        """As layer/preload reads it, little-endian: magic, u16 states, u16 width, the 256 classes; the labels as u16;
        then, at the next multiple of 4, the moves as u32, each what the next state begins at in this same array
        (state * width), so that a step is an addition and a load."""
        count = len(self.labels)
        moves = [to * self.width for to in self.moves]
        head = MAGIC + struct.pack(f"<HH256s{count}H", count, self.width, self.classes, *self.labels)
        return head + bytes(-len(head) % 4) + struct.pack(f"<{len(moves)}I", *moves)


def compiled(patterns: Sequence[str]) -> Table:
    """Of patterns that ``re`` takes. NotRegular, re.error: which one it is stands in the exception's notes."""
    automaton = Automaton()
    for number, pattern in enumerate(patterns):
        try:
            automaton.add(pattern)
        except (re.error, ValueError, RecursionError, OverflowError) as error:
            error.add_note(f"pattern {number}")
            raise
    return _Construction(automaton).table()


class _Construction:
    """Sets of states are ints, a bit each."""

    def __init__(self, automaton: Automaton) -> None:
        self._states = automaton.states
        self._finals = {state: number for number, state in enumerate(automaton.finals)}
        self._starts = automaton.starts
        self._of = self._owners()
        self.classes, examples = self._octet_classes()
        self.width = len(examples)
        self._closures: dict[int, int] = {}
        self._after = [self._by_class(state, examples) for state in self._states]

    def _owners(self) -> list[int]:
        """For each pattern the states of those after it and its own but the final one: what its match makes idle."""
        everything = (1 << len(self._states)) - 1
        ends = [*self._starts[1:], len(self._states)]
        return [
            everything & ~((1 << start) - 1) & ~(1 << final) if start < end else 0
            for start, end, final in zip(self._starts, ends, self._finals, strict=True)
        ]

    def _octet_classes(self) -> tuple[bytes, list[int]]:
        """Octets that no move tells apart are one class; and an octet of each."""
        sets = {octets for state in self._states for octets, _ in state.moves}
        seen: dict[tuple[bool, ...], int] = {}
        ordered = sorted(sets)
        classes = bytearray(256)
        examples: list[int] = []
        for octet in range(256):
            kind = tuple(bool(one >> octet & 1) for one in ordered)
            if kind not in seen:
                seen[kind] = len(examples)
                examples.append(octet)
            classes[octet] = seen[kind]
        return bytes(classes), examples

    def _closed(self, states: int, edges: str = "") -> int:
        """With all that is reached without an octet; ``edges``: those of the beginning, or of the end, too."""
        reached, left = states, states
        while left:
            low = left & -left
            left ^= low
            state = self._states[low.bit_length() - 1]
            for to in (*state.free, *(getattr(state, edges) if edges else ())):
                if not reached >> to & 1:
                    reached |= 1 << to
                    left |= 1 << to
        return reached

    def _pruned(self, states: int) -> int:
        """Without what can make no difference any more."""
        for final, number in self._finals.items():  # in their order: the first that matched decides
            if states >> final & 1:
                return states & ~self._of[number] | 1 << final
        return states

    def _by_class(self, state: State, examples: list[int]) -> tuple[int, tuple[tuple[int, int], ...]]:
        """What follows whatever comes; and, by class, what follows besides."""
        always = 0
        for octets, to in state.moves:
            if octets == EVERY:
                always |= self._closure(to)
        besides: dict[int, int] = {}
        for octets, to in state.moves:
            for number, octet in enumerate(examples):
                if octets != EVERY and octets >> octet & 1:
                    besides[number] = besides.get(number, 0) | self._closure(to)
        return always, tuple(besides.items())

    def _moved(self, states: int) -> list[int]:
        """The set that follows, for each class."""
        always = 0
        besides: dict[int, int] = {}
        for state in _bits(states):
            every, some = self._after[state]
            always |= every
            for number, after in some:
                besides[number] = besides.get(number, 0) | after
        usual = self._pruned(always)
        moved = [usual] * self.width
        for number, after in besides.items():
            moved[number] = self._pruned(always | after)
        return moved

    def _closure(self, state: int) -> int:
        if state not in self._closures:
            self._closures[state] = self._closed(1 << state)
        return self._closures[state]

    def _label(self, states: int) -> int:
        at_end = self._closed(states, "at_end")
        return next((number for final, number in self._finals.items() if at_end >> final & 1), NONE)

    def table(self) -> Table:
        first = self._pruned(self._closed(sum(1 << start for start in self._starts), "at_begin"))
        numbers, queue = {first: 0}, [first]
        moves: list[int] = []
        for states in queue:
            for after in self._moved(states):
                if after not in numbers:
                    if len(numbers) >= MOST_STATES:
                        raise NotRegular(f"together they need more than {MOST_STATES} states")
                    numbers[after] = len(numbers)
                    queue.append(after)
                moves.append(numbers[after])
        labels = [self._first_label(first), *map(self._label, queue[1:])]
        return Table(self.classes, self.width, moves, labels)

    def _first_label(self, states: int) -> int:
        """Of nothing read: begin and end are the same place."""
        reached = states
        while (more := self._closed(self._closed(reached, "at_begin"), "at_end")) != reached:
            reached = more
        return next((number for final, number in self._finals.items() if reached >> final & 1), NONE)


def _bits(number: int) -> Iterator[int]:
    while number:
        low = number & -number
        number ^= low
        yield low.bit_length() - 1
