"""native's own tests, and other rooms' that move the clock (timed_*): C, both compilers, sanitizers; see Makefile."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
NAMES = sorted(
    path.stem for kind in ("test_*.c", "timed_*.c", "gate_*.c", "sieve_*.c") for path in HERE.glob(kind)
)
NAMES.remove("gate_corpus")


def make(*targets: str) -> None:
    done = subprocess.run(["make", "-C", str(HERE), *targets], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_native(compiler: str, name: str) -> None:
    make(f"{compiler}/{name}")


def test_native_on_the_other_machine() -> None:
    """What needs no libraries of that machine: loop, multiplexer, lwIP's glue, the agent's dialler; emulated."""
    make("check-foreign")
