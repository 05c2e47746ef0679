"""Programs of the target's that a program without a layer executes: laid down in the container under their own name."""

from __future__ import annotations

import os
from pathlib import Path

from runner.files.rules import Mode, Rules, Wishes

from .conftest import App, supervise


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def test_the_target_s_as_it_is_now(app: App, supervised: Path, bare: Path) -> None:
    """What it says each time, also after it was changed; what is not executable there is not here."""
    say = app.tree / "srv/d/say"
    program(say, "#!/bin/sh\necho one $1\n")
    script = f"""for n in 1 2; do "$0" exec /srv/d/say $n; done; ls -l /srv/d/say | wc -l
cat {app.tmp}/go | while read line; do echo "#!/bin/sh
echo other" > {say}; "$0" exec /srv/d/say; chmod 644 {say}; "$0" exec /srv/d/say; echo $?; done"""
    (app.tmp / "go").write_text("now\n")
    said = supervise(app, supervised, "bash", "-c", script, str(bare), layered=True)
    assert said == "one 1\none 2\n1\nother\n13\n"


def test_the_container_s_own_of_that_name(app: App, supervised: Path, bare: Path) -> None:
    """If it is the same it is run, if not it is not replaced."""
    folder = app.tmp / "own"
    there = app.tree / folder.relative_to("/")
    for name in ("same", "differs"):
        program(folder / name, "#!/bin/sh\necho here\n")
        program(there / name, "#!/bin/sh\necho here\n")
    program(there / "differs", "#!/bin/sh\necho there\n")
    program(there / "sub/only", "#!/bin/sh\necho only\n")
    script = (
        f'for one in same differs sub/only; do "$0" exec {folder}/$one; echo $?; done; cat {folder}/differs'
    )
    words = ("bash", "-c", script, str(bare))
    app.ruled(Rules(Mode.OVERRIDES, Wishes(read_only=(f"^{folder}/",))))
    assert supervise(app, supervised, *words, layered=True) == "here\n0\n13\nonly\n0\n#!/bin/sh\necho there\n"
    assert (folder / "differs").read_text() == "#!/bin/sh\necho here\n"
    assert os.readlink(folder / "sub/only") == f"{app.layer}/programs{folder}/sub/only"


def test_where_no_rule_asks(app: App, supervised: Path, bare: Path) -> None:
    program(app.tree / "srv/d/say", "#!/bin/sh\necho one\n")
    app.ruled(Rules(Mode.READ))
    script = 'for one in say nothing; do "$0" exec /srv/d/$one; echo $?; done'
    assert supervise(app, supervised, "bash", "-c", script, str(bare), layered=True) == "13\n2\n"
    assert not (app.layer / "programs").exists()
