"""The one place that prints. Progress and errors go to stderr, tables (what was asked for) to stdout.

It knows no colour and needs none. While the app owns the terminal in raw mode a line must end in CR LF, because the
terminal no longer adds the CR; ``raw`` says so.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from json import dumps
from typing import TextIO

from runner.errors import Refusal

PREFIX = "mirror-run: "


class Screen:
    """``quiet`` leaves errors only. ``json``: tables are for programs."""

    def __init__(
        self, *, quiet: bool = False, json: bool = False, out: TextIO | None = None, err: TextIO | None = None
    ) -> None:
        self.quiet = quiet
        self.json = json
        self.raw = False
        self._out = sys.stdout if out is None else out
        self._err = sys.stderr if err is None else err
        self._terminal = self._err.isatty()
        self._passing = False

    def step(self, text: str) -> None:
        """Something is being done. On a terminal the next line takes its place; elsewhere it is a line of its own."""
        if self.quiet:
            return
        if self._terminal and not self.raw:
            self._write(f"\r\x1b[K{PREFIX}{text}")
            self._passing = True
        else:
            self._line(text)

    def notice(self, text: str) -> None:
        """Something happened that the user should see."""
        if not self.quiet:
            self._line(text)

    def warn(self, text: str) -> None:
        """Something the user must know, even with -q."""
        self._line(text)

    def refusal(self, refusal: Refusal) -> None:
        """What failed and what to do next."""
        self._line(refusal.what)
        if refusal.next_step:
            self._line(f"  {refusal.next_step}", prefix=" " * len(PREFIX))

    def settle(self) -> None:
        """The app may write from now on: nothing passing is left on the line."""
        if self._passing:
            self._write("\r\x1b[K")
            self._passing = False

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]], *, named: bool = False) -> None:
        """Columns on stdout, two spaces apart, as docker's and kubectl's; for programs an array of objects, whose keys
        are the headings in small letters. ``named``: the first column is a name; -q leaves nothing else, as docker's.
        """
        if self.json:
            keys = [one.lower() for one in header]
            self.data([dict(zip(keys, row, strict=True)) for row in rows])
            return
        if self.quiet and named:
            for row in rows:
                self.say(row[0])
            return
        widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
        for row in [header, *rows]:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self._out.write("  ".join(cells).rstrip() + "\n")
        self._out.flush()

    def data(self, value: object) -> None:
        """An answer for programs, on stdout."""
        self.say(dumps(value, indent=2, ensure_ascii=False))

    def say(self, text: str) -> None:
        """An answer to what was asked, on stdout."""
        self._out.write(text + "\n")
        self._out.flush()

    def _line(self, text: str, prefix: str = PREFIX) -> None:
        self.settle()
        end = "\r\n" if self.raw else "\n"
        self._write("".join(f"{prefix}{line}{end}" for line in text.splitlines()))

    def _write(self, text: str) -> None:
        try:
            self._err.write(text)
            self._err.flush()
        except OSError:
            pass  # nobody reads our stderr any more (a closed pipe): the run goes on without words


class ScreenHandler(logging.Handler):
    """The log, as lines of the screen, with the milliseconds since this process began to log."""

    def __init__(self, screen: Screen) -> None:
        super().__init__()
        self._screen = screen
        self.setFormatter(logging.Formatter("%(relativeCreated)d ms %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._screen.warn(self.format(record))
        except Exception:  # noqa: BLE001 - logging's own rule: an error of a handler's is its own
            self.handleError(record)
