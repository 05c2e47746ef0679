"""Programs without a layer: the same calls as those of programs that have one, made for them by mirror-init's part."""

from __future__ import annotations

from pathlib import Path

from runner.files.rules import Mode, Rules, Wishes

from .conftest import App, differing, greeting, inside, plant, supervise, tooled


def comparable(said: str) -> str:
    """Without what a program without a layer cannot have: descriptors of O_PATH are for reading."""
    return "".join(line for line in said.splitlines(keepends=True) if "O_PATH" not in line)


def test_everything_with_the_right_to_write(
    app: App, programs: Path, supervised: Path, tmp_path: Path
) -> None:
    plant(tmp_path / "control")
    tooled(app.tree, programs)
    with greeting(tmp_path / "control"), greeting(app.tree):
        there = comparable(inside(tmp_path / "control", programs, "/srv/d"))
        here = comparable(supervise(app, supervised, str(programs / "calls-static"), "/srv/d"))
    assert len(there.splitlines()) > 700
    assert not differing(there, here), "\n".join(differing(there, here))


def test_what_changes_nothing_when_it_may_only_be_read(
    app: App, programs: Path, supervised: Path, tree: Path
) -> None:
    app.ruled(Rules(Mode.OVERRIDES, Wishes(read_only=("^/srv(/|$)", "^/etc/hostname$"))))
    with greeting(tree):
        there = comparable(inside(tree, programs, "/srv/d", "looks"))
        here = comparable(supervise(app, supervised, str(programs / "calls-static"), "/srv/d", "looks"))
    assert not differing(there, here), "\n".join(differing(there, here))
