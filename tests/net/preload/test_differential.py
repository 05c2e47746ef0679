"""One program of several hundred calls says the same inside the target and as the app."""

from __future__ import annotations

from pathlib import Path

from runner.files.rules import Mode, Rules, Wishes

from .conftest import App, differing, greeting, inside, plant, tooled


def test_everything_with_the_right_to_write(app: App, programs: Path, tmp_path: Path) -> None:
    plant(tmp_path / "control")
    tooled(app.tree, programs)
    with greeting(tmp_path / "control"), greeting(app.tree):
        there = inside(tmp_path / "control", programs, "/srv/d")
        here = app.run(str(programs / "calls"), "/srv/d").stdout
    assert len(there.splitlines()) > 500
    assert not differing(there, here), "\n".join(differing(there, here))


def test_what_changes_nothing_when_it_may_only_be_read(app: App, programs: Path, tree: Path) -> None:
    app.ruled(Rules(Mode.OVERRIDES, Wishes(read_only=("^/srv(/|$)", "^/etc/hostname$"))))
    with greeting(tree):
        there = inside(tree, programs, "/srv/d", "looks")
        here = app.run(str(programs / "calls"), "/srv/d", "looks").stdout
    assert not differing(there, here), "\n".join(differing(there, here))
