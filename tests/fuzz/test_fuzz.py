"""A short run of every fuzzer; ``make fuzz`` has the long one."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest

from tests.fuzz import run

RUNS = 20_000
FEWER = {
    "fuzz_http2.c": 1_500,
    "fuzz_sieve_http2.c": 2_000,
    "fuzz_files.c": 3_000,
    "fuzz_runs.c": 10_000,
}
"""Whole connections between four sessions of nghttp2 in each run; a file system made for each."""

OF_C = (pytest.mark.slow, pytest.mark.timeout(400))
"""Compiled with sanitizers first, all of native's files each: minutes where others are busy."""

NAMES = [pytest.param(name, marks=OF_C if name.endswith(".c") else ()) for name in run.fuzzers()]


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What most fuzzers are linked with, compiled by the first that asks."""
    return tmp_path_factory.mktemp("objects")


@pytest.mark.parametrize("name", NAMES)
def test_a_short_run_finds_nothing(name: str, tmp_path: Path, objects: Path) -> None:
    if name.endswith(".py") and importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris has no wheel for this machine")
    if name.endswith(".c") and shutil.which("clang") is None:
        pytest.fail("clang is not installed: `images/host/install.sh test` does that")
    runs = FEWER.get(name, RUNS)
    done = run.run(name, f"-runs={runs}", "-max_len=600", "-seed=1", out=tmp_path, objects=objects)
    assert done.returncode == 0, done.stderr[-4000:]
    assert f"Done {runs}" in done.stderr, done.stderr[-2000:]
