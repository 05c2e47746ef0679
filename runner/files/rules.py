"""Which path is whose: what the user wrote, then the project and the mounts of this run, then the defaults, then
the mode.

The first that says something about a path decides. What is decided by pattern becomes one table (``dfa``), the same
for every run with the same wishes; folders that differ from run to run are prefixes beside it. Pure.

What makes tables and programs is imported where one is made: a run mostly has its table from the one before.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from typing import TYPE_CHECKING

from runner.errors import Refusal
from runner.files.defaults import LOCAL, NOT_FOUND, TARGET
from wire.record import record

if TYPE_CHECKING:
    from runner.files import dfa, program


class Whose(IntEnum):
    """Where a path leads. Numbers as in layer/preload."""

    LOCAL = 0  # the container's
    READ = 1  # read from the target; written in the container, on a copy
    WRITE = 2  # the target's in both
    NOT_FOUND = 3  # as if it were not there


class Mode(IntEnum):
    """``--fs-mode``: what of the target's files is there, where nothing else decides."""

    LOCAL = 0  # nothing is the target's, whatever the rules say
    READ = 1
    WRITE = 2
    OVERRIDES = 3  # only what the user's rules name

    @property
    def otherwise(self) -> Whose:
        return {Mode.READ: Whose.READ, Mode.WRITE: Whose.WRITE}.get(self, Whose.LOCAL)


@record
class Wishes:
    """The user's patterns; and what of the app (first) is elsewhere in the target: folders, and patterns (which begin
    with ``^``) with what becomes of a path, ``\\1`` for a group's part of it."""

    not_found: tuple[str, ...] = ()
    local: tuple[str, ...] = ()
    read_only: tuple[str, ...] = ()
    read_write: tuple[str, ...] = ()
    mapped: tuple[tuple[str, str], ...] = ()

    def ordered(self) -> tuple[tuple[str, Whose], ...]:
        """As they are asked: the more careful first."""
        return (
            *((one, Whose.NOT_FOUND) for one in self.not_found),
            *((one, Whose.LOCAL) for one in self.local),
            *((one, Whose.READ) for one in self.read_only),
            *((one, Whose.WRITE) for one in self.read_write),
        )


@record
class Decision:
    """``path`` is what is asked for there, after mapping; ``why`` names the rule."""

    path: str
    whose: Whose
    why: str


@dataclass(frozen=True)
class Rules:
    """Of one run. ``own``: folders that stay the container's whatever they are called (the work tree, its volumes);
    ``mounts``: where the target has a volume, a secret, a config map; ``image``: the app's image is one of the user's,
    and so what nobody knows is that image's.
    """

    mode: Mode
    wishes: Wishes = field(default_factory=Wishes)
    own: Sequence[str] = ()
    mounts: Sequence[str] = ()
    home: str = ""
    image: bool = False
    _defaults: tuple[tuple[str, Whose], ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        theirs = Whose.WRITE if self.mode is Mode.WRITE else Whose.READ
        defaults = (
            *((one, Whose.NOT_FOUND) for one in NOT_FOUND),
            *((one, theirs) for one in TARGET),
            *((one, Whose.LOCAL) for one in LOCAL),
        )
        object.__setattr__(self, "_defaults", () if self.mode in (Mode.LOCAL, Mode.OVERRIDES) else defaults)
        for one, other in self.wishes.mapped:
            if not (one.startswith(("/", "^")) and other.startswith("/")):
                raise Refusal(
                    f"files: {one!r} cannot be mapped to {other!r}",
                    "both are absolute paths, or the first a pattern: ^/…",
                )

    @cached_property
    def patterns(self) -> tuple[tuple[str, Whose], ...]:
        """The user's, and behind them the defaults."""
        return (*self.wishes.ordered(), *self._defaults)

    @cached_property
    def table(self) -> dfa.Table:
        """Of the patterns. Refusal: one of the user's cannot be had."""
        from runner.files import dfa
        from runner.files.nfa import NotRegular

        try:
            return dfa.compiled([pattern for pattern, _ in self.patterns])
        except (NotRegular, re.error, RecursionError, OverflowError, ValueError) as error:
            number = int(error.__notes__[0].split()[-1]) if getattr(error, "__notes__", None) else -1
            which = f"the pattern {self.patterns[number][0]!r}" if number >= 0 else "the patterns"
            raise Refusal(f"files: {which}: {error}", "write it without, or as several") from error

    @cached_property
    def prefixes(self) -> tuple[tuple[str, Whose, str], ...]:
        """Folders of this run: path, whose, what they are called to people. The longest that holds a path counts."""
        if self.mode in (Mode.LOCAL, Mode.OVERRIDES):
            return ()
        theirs = self.mode.otherwise
        found = [(one, Whose.LOCAL, "the project's") for one in self.own]
        found += [(one, theirs, "a mount of the target's") for one in self.mounts]
        found += [(self.home, Whose.LOCAL, "the user's home")] if self.home.strip("/") else []
        return tuple(sorted(found, key=lambda one: -len(one[0])))

    def decide(self, path: str) -> Decision:
        """Of an absolute path without ``.`` and ``..``."""
        if self.mode is Mode.LOCAL:
            return Decision(path, Whose.LOCAL, "--fs-mode local")
        asked = path
        path = self._mapped(path)
        number = self.table.match(path.encode(errors="surrogateescape"))
        mapped = f", as {path}" if path != asked else ""
        users = len(self.wishes.ordered())
        if number is not None and number < users:
            pattern, whose = self.patterns[number]
            return Decision(path, whose, f"your pattern {pattern}{mapped}")
        for folder, whose, name in self.prefixes:
            if _holds(folder, path):
                return Decision(path, whose, f"{name}: {folder}{mapped}")
        if number is not None:
            pattern, whose = self.patterns[number]
            return Decision(path, whose, f"by default: {pattern}{mapped}")
        if self.image:
            return Decision(path, Whose.LOCAL, f"of the image of your own{mapped}")
        return Decision(path, self.mode.otherwise, f"--fs-mode {self.mode.name.lower()}{mapped}")

    @cached_property
    def folders(self) -> tuple[tuple[str, str], ...]:
        """Of the mappings, those of folders, which are asked first."""
        return tuple(pair for pair in self.wishes.mapped if not pair[0].startswith("^"))

    @cached_property
    def programs(self) -> tuple[program.Program, ...]:
        """The others. Refusal: one that cannot be had."""
        wanted = [pair for pair in self.wishes.mapped if pair[0].startswith("^")]
        if not wanted:
            return ()
        from runner.files import program
        from runner.files.nfa import NotRegular

        made = []
        for pattern, template in wanted:
            try:
                made.append(program.compiled(pattern, template))
            except (NotRegular, re.error, RecursionError, OverflowError, ValueError) as error:
                raise Refusal(
                    f"files: the mapping {pattern!r}: {error}", "write it without, or as several"
                ) from error
        return tuple(made)

    def _mapped(self, path: str) -> str:
        """By the first that fits."""
        for one, other in self.folders:
            if _holds(one, path):
                return other.rstrip("/") + path[len(one.rstrip("/")) :] or "/"
        octets = path.encode(errors="surrogateescape")
        found = next((to for one in self.programs if (to := one.mapped(octets)) is not None), octets)
        return found.decode(errors="surrogateescape")

    def packed(self, table: bytes = b"") -> bytes:
        """For layer/preload, which walks it in place; little-endian. ``table``: its own, if it is packed already.

        Magic; as u32 the counts of patterns, prefixes, mapped folders and of the user's patterns, the mode, and the
        count of mappings by pattern; for each
        pattern an octet whose; each prefix as u16 length, octet whose, octets; each
        mapped folder as twice u16 length and octets; each mapping by pattern as ``program`` says;
        then, at the next multiple of 8, the table.
        """
        labels = bytes(whose for _, whose in self.patterns)
        mode = Mode.OVERRIDES if self.image else self.mode
        parts = [struct.pack("<8sIIIIII", b"MRRULES2", len(labels), len(self.prefixes), len(self.folders),
                             len(self.wishes.ordered()), mode, len(self.programs)), labels]  # fmt: skip
        for folder, whose, _ in self.prefixes:
            octets = _octets(folder)
            parts.append(struct.pack("<HB", len(octets), whose) + octets)
        for pair in self.folders:
            for octets in map(_octets, pair):
                parts.append(struct.pack("<H", len(octets)) + octets)  # noqa: PERF401 - two levels read better so
        parts += [one.packed() for one in self.programs]
        head = b"".join(parts)
        return head + bytes(-len(head) % 8) + (table or self.table.packed())


def _holds(folder: str, path: str) -> bool:
    """Whether it is that path or lies below it."""
    folder = folder.rstrip("/")
    return path == folder or path.startswith(f"{folder}/")


def _octets(path: str) -> bytes:
    return (path.rstrip("/") or "/").encode(errors="surrogateescape")


def explained(rules: Rules, paths: Iterable[str]) -> list[tuple[str, str, str]]:
    """Rows for people: path, where it goes, which rule says so."""
    words = {
        Whose.LOCAL: "the container",
        Whose.READ: "the target, read only",
        Whose.WRITE: "the target",
        Whose.NOT_FOUND: "not found",
    }
    return [(path, words[said.whose], said.why) for path in paths for said in [rules.decide(path)]]
