"""Older kernels: what the layer and mirror-init do where a call or a flag is missing that they like to have."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from .conftest import ROOT, App, differing, greeting, inside, plant, supervise, tooled
from .test_static import comparable

LEAF = "/srv/d/sub/deep/leaf"


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> str:
    made = tmp_path_factory.mktemp("old") / "old"
    source = str(Path(__file__).with_name("old.c"))
    subprocess.run(["gcc", "-O1", "-static", f"-I{ROOT}", "-o", str(made), source], check=True)
    return str(made)


def test_it_is_one(old: str) -> None:
    """Else the others would say nothing."""
    script = "import ctypes, os; c = ctypes.CDLL(None, use_errno=True); c.syscall(437, -100, b'/', b'', 24)"
    script += "; print(ctypes.get_errno()); c.syscall(317, 1, 0x28, None); print(ctypes.get_errno())"
    said = subprocess.run([old, "python3", "-c", script], capture_output=True, text=True, check=True).stdout
    assert said == "38\n22\n"


@pytest.mark.parametrize("libc", ["glibc"], indirect=True)
def test_all_calls(app: App, supervised: Path, programs: Path, old: str, tmp_path: Path) -> None:
    """The differential program, with the layer, and then, on a tree that is as new, without it."""
    plant(tmp_path / "control")
    tooled(app.tree, programs)
    with greeting(tmp_path / "control"), greeting(app.tree):
        there = inside(tmp_path / "control", programs, "/srv/d", "looks")
        here = app.run(old, str(programs / "calls"), "/srv/d", "looks").stdout
        bare = supervise(app, supervised, str(programs / "calls-static"), "/srv/d", "looks", under=(old,))
    assert not differing(there, here), "\n".join(differing(there, here))
    assert not differing(comparable(there), comparable(bare))


def test_signals(app: App, supervised: Path, bare: Path, old: str) -> None:
    """What was begun for a program is broken off by one and made again: an open and a stat never fail by it."""
    said = supervise(app, supervised, str(bare), "interrupted", "/srv/d/file", "300", under=(old,))
    assert said == "many signals, 0 failed\n"
    said = supervise(app, supervised, str(bare), "threads", "/srv/d/file", "20", under=(old,))
    assert said == "16 threads, 0 wrong\n"


def test_one_that_is_too_old_says_so(app: App, supervised: Path, bare: Path) -> None:
    """As mirror-init says it when it starts; uname(2) answers 2.6 there."""
    command = ["setarch", "--uname-2.6", str(supervised), str(bare), "cat", LEAF]
    done = app.run(*command, layered=False, check=False)
    assert (done.returncode, done.stdout) == (100, "")
    assert done.stderr.startswith("Linux 2.6")
    assert done.stderr.endswith(" is older than 5.14\n")
