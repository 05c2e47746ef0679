"""How help is laid out: options under the headings of their groups, and a group alone shows its commands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import click

Options = Callable[[Any], Any]

HEADING = "heading"
"""Attribute of an option that stands in a ``Group``."""

WIDTH = 100
"""Columns at most, where the terminal has them."""


class Group(tuple[Options, ...]):
    """Options of one kind, as decorators; ``heading`` stands above them in the help."""

    heading: str

    def __new__(cls, heading: str, options: Sequence[Options]) -> Self:
        made = super().__new__(cls, options)
        made.heading = heading
        return made


def having(*groups: Group) -> Options:
    """A decorator: the command with these options, in this order."""

    def decorate(command: Any) -> Any:
        for group in reversed(groups):
            for option in reversed(group):
                command = option(command)
                setattr(command.__click_params__[-1], HEADING, group.heading)
        return command

    return decorate


class Sectioned(click.Command):
    """A command whose options stand under their headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            if isinstance(parameter, click.Option) and (said := parameter.get_help_record(ctx)):
                sections.setdefault(getattr(parameter, HEADING, "General"), []).append(said)
        for heading, lines in sections.items():
            with formatter.section(heading if len(sections) > 1 else "Options"):
                formatter.write_dl(lines)
