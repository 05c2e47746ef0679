"""All of this folder once more, on a build with AddressSanitizer and UndefinedBehaviorSanitizer."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.net.netstack.sanitized import ROOT


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_sanitizer_complains() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.net.netstack.sanitized"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-8000:]
    assert " passed" in done.stdout
