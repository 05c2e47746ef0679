"""Compiles everything that is C, the same way in the image build and on a developer's machine.

    python3 images/build_native.py --out DIR [--only NAME]

Leaves under DIR the paths that the tree itself would have: ``layer/netstack/_netstack.*.so`` and ``agent/_engine.*.so``
(cffi, API mode; their sources and options are said by ``build.py`` beside each), the static programs ``mirror-init``
and ``mirror-link``, and ``mirror-gate``, which needs the distribution's libnftables at run time. lwIP's tree is
expected in ``build/lwip`` (``fetch_lwip.py``).
"""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

MODULES = {
    "_netstack": ("layer.netstack.build", Path("layer/netstack")),
    "_engine": ("agent.build", Path("agent")),
}
"""Extension module: where its ``ffibuilder()`` is, where it belongs."""

BY_RULES = [
    *("ask", "place", "rules", "mapped", "upper", "program", "listener", "open", "stat", "name", "link", "attribute"),
    *("xattr", "filesystem", "number", "socket_name"),
]
"""Of the layer: what mirror-init decides with for programs that have none (-DLAYER_FOR_OTHERS)."""

PROGRAMS = {
    "mirror-init": (
        "layer/init/*.c",
        *(f"native/{part}.c" for part in ("fault", "span", "msgpack")),
        *(f"layer/preload/{part}.c" for part in BY_RULES),
    ),
    "mirror-link": ("agent/link.c",),
}
"""Static program: its sources, as patterns from the tree's root."""

LAYER, LAYER_MUSL = "layer.so", "layer-musl.so"
"""For each libc that an app's programs may have; their machine is that of the image that they come from."""

GATE = "mirror-gate"
GATE_SOURCES = (
    "agent/gate/*.c",
    "agent/http/*.c",
    "agent/netns.c",
    *(f"native/{part}.c" for part in ("addr", "backlog", "fault", "loop", "thread", "span", "msgpack", "sockdiag")),
)

HTTP_REGEX = "agent/http/pattern.cc"
"""RE2 has no interface for C: the one file of C++. Gates and mirrors know requests by it."""

HTTP_LIBRARIES = ("-lre2", "-lnghttp2", "-lstdc++")
GATE_LIBRARIES = ("-lnftables", *HTTP_LIBRARIES, "-lpthread")

EVERYTHING = [*MODULES, *PROGRAMS, GATE, LAYER, LAYER_MUSL]

WARNINGS = ["-Wall", "-Wextra", "-Wshadow", "-Wstrict-prototypes", "-Wmissing-prototypes", "-Wvla", "-Wundef"]
WARNINGS += ["-Werror"]


def build(name: str, out: Path) -> None:
    if name == GATE:
        build_gate(out)
    elif name == LAYER:
        build_layer(out)
    elif name == LAYER_MUSL:
        build_layer_musl(out)
    elif name in MODULES:
        build_module(name, out)
    else:
        build_program(name, out)


def build_module(name: str, out: Path) -> None:
    """In a process of its own: distutils keeps the current directory and its options in globals."""
    subprocess.run([sys.executable, __file__, "--out", str(out), "--module", name], cwd=ROOT, check=True)


def compile_module(name: str, out: Path) -> None:
    """Called in that process. Each module has a folder of its own: both compile native's files, at the same time."""
    sys.path.insert(0, str(ROOT))
    builder, folder = MODULES[name]
    work = ROOT / "build" / "cffi" / sysconfig.get_config_var("SOABI") / name
    shutil.rmtree(work, ignore_errors=True)  # distutils knows nothing of headers: what is there may be old
    work.mkdir(parents=True)
    ffi = importlib.import_module(builder).ffibuilder(*([] if name != "_engine" else [compiled_regex(work)]))
    made = Path(ffi.compile(tmpdir=str(work), verbose=False))
    place(made, out / folder / made.name)


def build_program(name: str, out: Path) -> None:
    """One gcc call; small enough not to need objects."""
    options = ["-D_GNU_SOURCE", "-std=gnu11", "-Os", "-static", "-ffunction-sections", "-fdata-sections"]
    options += ["-Wl,--gc-sections", "-s"]
    options += ["-DLAYER_FOR_OTHERS", f"-I{ROOT}", f"-I{ROOT / 'native'}"]
    compile_program(name, PROGRAMS[name], [compiler(), *options], [], out)


def build_gate(out: Path) -> None:
    """Dynamic, and for speed: every octet of a stolen port's bystanders goes through it."""
    command = [
        os.environ.get("CC", "gcc"),
        "-D_GNU_SOURCE",
        "-std=gnu11",
        "-O2",
        "-g",
        "-fno-strict-aliasing",
    ]
    command += [f"-I{ROOT}", f"-I{ROOT / 'native'}"]
    regex = compiled_regex(ROOT / "build" / "programs")
    compile_program(GATE, GATE_SOURCES, command, [regex, *GATE_LIBRARIES], out)


def compiled_regex(folder: Path) -> str:
    """The object of the one file of C++: a compiler of C takes its options for no other."""
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / "pattern.o"
    cxx = [os.environ.get("CXX", "g++"), "-std=c++17", "-O2", "-g", "-fPIC", "-fvisibility=hidden"]
    words = [*cxx, "-Wall", "-Wextra", "-Werror", f"-I{ROOT}", "-c", str(ROOT / HTTP_REGEX), "-o", str(made)]
    subprocess.run(words, check=True)
    return str(made)


def build_layer(out: Path) -> None:
    """A library for glibc 2.17 and newer: of what it takes from libc nothing is younger (layer/preload/real.c)."""
    command = [os.environ.get("CC", "gcc"), "-D_GNU_SOURCE", "-std=gnu11", "-O2", "-fPIC", "-shared"]
    command += ["-fvisibility=hidden", f"-I{ROOT}", "-s"]
    # Before glibc 2.34 dlsym(3) was in a library of its own, whose name is still to be had.
    libraries = ["-Wl,--no-as-needed", "-l:libdl.so.2"]
    compile_program(LAYER, ("layer/preload/*.c",), command, libraries, out)


def build_layer_musl(out: Path) -> None:
    """musl takes `libc.so` for itself, whatever it is called on that system."""
    command = ["musl-gcc", "-D_GNU_SOURCE", "-std=gnu11", "-O2", "-fPIC", "-shared"]
    compile_program(
        LAYER_MUSL, ("layer/preload/*.c",), [*command, "-fvisibility=hidden", f"-I{ROOT}", "-s"], [], out
    )


def compile_program(
    name: str, patterns: Sequence[str], command: list[str], libraries: list[str], out: Path
) -> None:
    """One gcc call over the patterns' files."""
    files = [file for pattern in patterns for file in sorted(ROOT.glob(pattern))]
    if len(files) < len(patterns):
        sys.exit(f"build_native: {name} lacks sources of {', '.join(patterns)}")
    made = ROOT / "build" / "programs" / name
    made.parent.mkdir(parents=True, exist_ok=True)
    # The engine may be of another age than the sources: reproducible bytes make equal images.
    subprocess.run([*command, *WARNINGS, "-o", str(made), *map(str, files), *libraries], check=True)
    place(made, out / name)


def compiler() -> str:
    """musl makes a static program of 60 KiB where glibc's takes 800; both work, so its absence is no error."""
    return os.environ.get("CC") or shutil.which("musl-gcc") or "gcc"


def place(made: Path, to: Path) -> None:
    """By rename, so that a process which has the old file mapped keeps it."""
    to.parent.mkdir(parents=True, exist_ok=True)
    partial = to.with_name(to.name + ".partial")
    shutil.copy2(made, partial)
    partial.replace(to)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", choices=EVERYTHING, action="append", help="default: all")
    parser.add_argument("--module", choices=MODULES, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    out: Path = asked.out.resolve()
    if asked.module:
        compile_module(asked.module, out)
        return
    names = asked.only or EVERYTHING
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        jobs = [pool.submit(build, name, out) for name in names]
    for job in jobs:
        try:
            job.result()
        except subprocess.CalledProcessError as failed:
            sys.exit(f"build_native: {' '.join(map(str, failed.cmd[:4]))} … failed ({failed.returncode})")


if __name__ == "__main__":
    main()
