"""Sockets and watches by a path: the same whether a program has the layer, or mirror-init makes its calls."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from runner.files.rules import Mode, Rules, Wishes

from .conftest import App, greeting, supervise


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program; beside it `static`, the same without a layer."""
    folder = tmp_path_factory.mktemp("named")
    source = str(Path(__file__).with_name("named.c"))
    for name, options in (("named", []), ("static", ["-static"])):
        subprocess.run(["gcc", "-O1", *options, "-o", str(folder / name), source], check=True)
    return folder / "named"


def either(app: App, supervised: Path, named: Path, *words: str) -> str:
    """What both say."""
    layered = app.run(str(named), *words).stdout
    assert supervise(app, supervised, str(named.with_name("static")), *words) == layered
    return layered


SERVED = """bind 0 errno 0, cloexec 1
again -1 errno 98
mode 140750, listen 0
connect 0 errno 0, nonblock 1 cloexec 0, uid 0, said welcome
unlink 0, then -1
"""


def test_a_server_of_the_app_s_in_a_folder_of_the_target_s(app: App, supervised: Path, named: Path) -> None:
    """With `read` its socket is in the container, by a name that may be longer than an address is."""
    app.ruled(Rules(Mode.OVERRIDES, Wishes(read_only=("^/srv(/|$)",))))
    long = "/srv/d/sub/deep/" + "x" * 80
    for path in ("/srv/d/app.sock", long):
        assert either(app, supervised, named, "serve", path) == SERVED
    assert not list((app.tree / "srv").rglob("*.sock"))


def test_none_is_made_in_the_target(app: App, supervised: Path, named: Path) -> None:
    script = 'timeout 5 "$0" serve /srv/d/app.sock | head -1'
    said = "bind -1 errno 1, cloexec 1\n"
    assert app.run("bash", "-c", script, str(named)).stdout == said
    words = ("bash", "-c", script, str(named.with_name("static")))
    assert supervise(app, supervised, *words, layered=True) == said


def test_a_server_of_the_target_s(app: App, supervised: Path, named: Path) -> None:
    with greeting(app.tree):
        said = either(app, supervised, named, "talk", "/srv/d/socket")
    assert said == "connect 0 errno 0, nonblock 1 cloexec 0, uid 0, said hello\n\n"
    assert "errno 111" in either(app, supervised, named, "talk", "/srv/d/file")


def test_watches(app: App, supervised: Path, named: Path) -> None:
    said = either(app, supervised, named, "watch", "/srv/d")
    assert said == "flags 0 1 2048\nwatch 1, the container's 2\nevent 1 made\n"
