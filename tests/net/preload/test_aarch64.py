"""On the other machine: all our C compiles for it, and the layer says there what it says here."""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from native import sources as native

from .conftest import LIBRARY, ROOT, App, differing, greeting, inside, needed, plant, tooled

COMPILER = "aarch64-linux-gnu-gcc"
RUN = ["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu"]
ROOMS = ("layer/preload", "layer/init", "layer/files", "native", "agent", "agent/files")


def test_all_of_our_own_c_is_c_for_it() -> None:
    """What needs others' headers for that machine (lwIP's port, the gate's libraries) aside."""

    def wrong(source: Path) -> str:
        words = [COMPILER, "-std=gnu11", *native.DEFINES, *native.WARNINGS, "-fsyntax-only", f"-I{ROOT}"]
        words += [f"-I{one}" for one in native.include_dirs()]
        return subprocess.run([*words, str(source)], capture_output=True, text=True, check=False).stderr

    sources = [path for room in ROOMS for path in sorted((ROOT / room).glob("*.c"))]
    assert len(sources) > 80
    with ThreadPoolExecutor(2) as pool:
        said = "".join(pool.map(wrong, sources))
    assert not said


FLAGS = {
    0o40000: os.O_DIRECTORY,
    0o100000: os.O_NOFOLLOW,
    0o200000: os.O_DIRECT,
    0o400000: 0o100000,  # O_LARGEFILE, which is 0 to libc
}
"""Those of open(2) that differ there. In earnest layer and door are of the same machine."""


@pytest.fixture(scope="module")
def foreign(app_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `layer.so` and `calls` for that machine; the rules are where the others' are."""
    folder = tmp_path_factory.mktemp("aarch64")
    places = [f'-DRULES_FILE="{app_folder}/rules"', f'-DUPPER="{app_folder}/upper"']
    sources = map(str, sorted((ROOT / "layer" / "preload").glob("*.c")))
    options = [one for one in LIBRARY if one not in ("-g", "-O2")]
    library = [COMPILER, *options, *places, f"-I{ROOT}", "-o", str(folder / "layer.so"), *sources]
    subprocess.run(library, check=True)
    calls = str(Path(__file__).with_name("calls.c"))
    subprocess.run([COMPILER, "-O1", f"-I{ROOT}", "-o", str(folder / "calls"), calls], check=True)
    return folder


def comparable(said: str) -> str:
    """Without programs that are executed: they are of this machine, and an emulated process becomes none."""
    left_out = (" tell ", "exec", "posix_spawn", "fexec")
    return "".join(line for line in said.splitlines(keepends=True) if not line.startswith(left_out))


def test_it_loads_wherever_glibc_is_2_17(foreign: Path) -> None:
    assert needed(foreign / "layer.so") == {(2, 17)}


@pytest.mark.parametrize("libc", ["glibc"], indirect=True)
def test_the_layer_says_there_what_it_says_here(
    app: App, foreign: Path, programs: Path, tmp_path: Path
) -> None:
    plant(tmp_path / "control")
    tooled(app.tree, programs)
    app.door.foreign = FLAGS
    with greeting(tmp_path / "control"), greeting(app.tree):
        there = inside(tmp_path / "control", programs, "/srv/d")
        words = [*RUN, "-E", f"LD_PRELOAD={foreign}/layer.so", str(foreign / "calls"), "/srv/d"]
        here = app.run(*words, layered=False).stdout
    different = differing(comparable(there), comparable(here))
    assert not different, "\n".join(different)
