"""The agent's cores (reassembly, request boundaries, filter, rates, reach), compiled with the sanitizers and run."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "tests" / "native"
OUT = ROOT / "build" / "tests" / "mirror"

FLAGS = [
    "-std=gnu11",
    "-D_GNU_SOURCE",
    "-g",
    "-O1",
    "-Wall",
    "-Wextra",
    "-Wshadow",
    "-Wvla",
    "-Wundef",
    "-Werror",
]
SANITIZE = ["-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]

PROGRAMS = {
    "check_reassembly": ("agent/reassembly.c",),
    "check_http_edge": ("agent/http_edge.c",),
    "check_mirror_rate": ("agent/mirror_rate.c",),
    "check_bucket": ("agent/bucket.c",),
    "check_reach": ("agent/reach.c", "native/addr.c"),
    "mirror_filter": ("agent/filter.c",),
}
"""Program: what it is about, beside native/fault.c."""


@functools.cache
def built(name: str, compiler: str) -> Path:
    OUT.mkdir(parents=True, exist_ok=True)
    program = OUT / f"{name}.{compiler}"
    sources = [HERE / f"{name}.c", ROOT / "native" / "fault.c", *(ROOT / part for part in PROGRAMS[name])]
    include = [f"-I{ROOT}", f"-I{ROOT / 'native'}"]
    subprocess.run(
        [compiler, *FLAGS, *SANITIZE, *include, *map(str, sources), "-o", str(program)], check=True
    )
    return program


def run(name: str, *arguments: str, compiler: str = "clang") -> str:
    done = subprocess.run([built(name, compiler), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


@pytest.mark.parametrize("compiler", ["clang", pytest.param("gcc", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", [name for name in PROGRAMS if name.startswith("check_")])
def test_core(name: str, compiler: str) -> None:
    assert run(name, compiler=compiler)


GOLDEN = HERE / "mirror_filter.golden"


def test_the_filter_is_as_it_was_read_and_tried() -> None:
    """To be changed together with the golden text, by somebody who has read the new program."""
    assert run("mirror_filter", "tcp/80", "tcp/443", "udp/53") == GOLDEN.read_text()


def test_the_filter_of_no_ports_takes_nothing() -> None:
    lines = run("mirror_filter").splitlines()
    assert lines[0] == "6 0 0 0"  # BPF_RET 0


def test_the_filter_of_most_ports_is_one_the_kernel_takes() -> None:
    """BPF_MAXINSNS is 4096; conditional jumps never leave their neighbourhood."""
    program = run("mirror_filter", *(f"tcp/{port}" for port in range(1, 257))).splitlines()
    assert len(program) < 4096
    assert all(int(line.split()[1]) <= 2 and int(line.split()[2]) <= 2 for line in program)
