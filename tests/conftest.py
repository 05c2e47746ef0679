"""Marks by place: what a test needs is said by the folder it lies in, and those who cannot give it leave it out.

``make test-unit`` leaves out ``net`` and ``engine``; nothing is skipped because something is missing: a test that was
asked for and cannot run has failed.

With ``-n`` several processes run the tests, as `schedule` deals them out; what fails is said at once, and at the end
which files took how long.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests import schedule

# How fast examples are made and judged is the machine's affair, and a busy one would fail tests that are right.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

HERE = Path(__file__).resolve().parent

MARKS = {"net": "net", "facts": "net", "e2e": "engine", "demo": "engine"}
"""Folder of tests/: the mark of everything below it."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            place = item.path.relative_to(HERE).parts[0]
            if mark := MARKS.get(place):
                item.add_marker(mark)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> schedule.Units | None:
    return schedule.Units(config, log) if config.getoption("dist") == "load" else None


SHOWN = 15
"""Files whose seconds are said at the end of a run of many."""


class Progress:
    """Of a run by several processes: a failure's name when it happens, and where the time went."""

    def __init__(self) -> None:
        self._terminal: Any = None
        self._seconds: Counter[str] = Counter()

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        self._terminal = session.config.pluginmanager.getplugin("terminalreporter")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[report.nodeid.partition("::")[0]] += report.duration
        if report.failed:
            self._terminal.write_line(f"\n{report.when} failed: {report.nodeid}", red=True)

    def pytest_terminal_summary(self) -> None:
        if len(self._seconds) > SHOWN:
            self._terminal.section("seconds by file, of all processes together")
            for path, seconds in self._seconds.most_common(SHOWN):
                self._terminal.write_line(f"{seconds:7.1f}  {path}")


def pytest_configure(config: pytest.Config) -> None:
    os.umask(0o022)  # what tests make is read by other users, and modes are compared
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Progress(), "progress")
