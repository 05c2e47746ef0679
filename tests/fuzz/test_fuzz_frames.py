"""A short run of the frame fuzzer; ``make fuzz`` has the long one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytest.importorskip("atheris", reason="atheris has no wheel for this machine; the hypothesis tests still run")


def fuzz(corpus: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.fuzz.fuzz_frames",
            *options,
            f"-artifact_prefix={corpus}/",
            str(corpus),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def test_fuzzing_the_frame_reader_finds_nothing(tmp_path: Path) -> None:
    done = fuzz(tmp_path / "corpus", "-runs=20000", "-max_len=600", "-seed=1")
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Done 20000" in done.stderr, done.stderr[-2000:]
