"""The demo holds what it claims: its exit code says so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).resolve().parent / "demo.py"


@pytest.mark.timeout(600)  # the stack's images may have to be built
def test_the_demo() -> None:
    command = [sys.executable, str(DEMO)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
