"""The scheduler: what is listed exists, what is alone meets nobody, and everything runs once and is counted once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import schedule

ROOT = Path(__file__).resolve().parent.parent

LISTS = {
    "ALONE": schedule.ALONE,
    "FAMILIES": schedule.FAMILIES,
    "APART": schedule.APART,
    "RANKS": schedule.RANKS,
}


@pytest.mark.parametrize("name", LISTS)
def test_what_is_listed_is_there(name: str) -> None:
    for entry in LISTS[name]:
        path, _, test = entry.partition("::")
        assert (ROOT / path).exists(), entry
        assert not test or f"def {test}(" in (ROOT / path).read_text(), entry


def test_every_test_has_a_place_and_a_unit() -> None:
    assert schedule.place("a/b.py::c[1]", ["a/b.py", "a/b.py::c", "a/"]) == "a/b.py::c"
    assert schedule.place("a/bb.py::c", ["a/b.py", "a/b"]) == ""
    assert schedule.unit("tests/x/test_y.py::test_z[1]") == "tests/x/test_y.py"


# Each test says when it is there, and waits for whom it must meet, or sees that it meets nobody.
MEETS = """
import os, time
from pathlib import Path
import pytest
HERE = Path(os.environ["THERE"])

def wait(name):
    deadline = time.monotonic() + 60
    while not (HERE / name).exists():
        assert time.monotonic() < deadline, name
        time.sleep(0.01)

@pytest.fixture(autouse=True)
def present(request):
    mine = HERE / f"now-{os.getpid()}"
    mine.touch()
    yield
    mine.unlink()
"""
FILES = {
    "test_one.py": "def test_meets_two():\n    (HERE / 'one').touch(); wait('two')\n",
    "test_two.py": "def test_meets_one():\n    (HERE / 'two').touch(); wait('one')\ndef test_last(): pass\n",
    "test_alone.py": "@pytest.mark.parametrize('n', range(3))\n"
    "def test_meets_nobody(n):\n    assert len(list(HERE.glob('now-*'))) == 1\n",
    "test_bad.py": "def test_fails(): assert False\n",
}
CONFTEST = """
from tests import schedule
schedule.ALONE["test_alone.py"] = "as a trial"
schedule.RANKS = ("test_alone.py", "tests/")
from tests.conftest import pytest_configure, pytest_xdist_make_scheduler
"""


def test_alone_is_alone_and_the_rest_is_not(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    for name, text in FILES.items():
        (tmp_path / name).write_text(MEETS + text)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-n",
        "3",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
    ]
    done = subprocess.run(
        [*command, "-c", os.devnull, str(tmp_path)],
        cwd=tmp_path,
        env=environment | {"THERE": str(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 failed, 6 passed in" in done.stdout.splitlines()[-1], done.stdout + done.stderr
    assert "call failed: test_bad.py::test_fails" in done.stdout
    assert done.returncode == 1
