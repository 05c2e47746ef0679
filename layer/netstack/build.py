"""How ``layer.netstack._netstack`` is compiled: cffi in API mode, netstack.h's marked part as the declaration.

Only lists and options; ``images/build_native.py`` runs the compiler. lwIP's tree is in ``build/lwip``, where
``images/fetch_lwip.py`` leaves it.
"""

from __future__ import annotations

import re
from pathlib import Path

from cffi import FFI

from native import sources as native

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
LWIP = ROOT / "build" / "lwip" / "src"

FAULT = "struct fault { int err; char text[192]; };\n"
"""As in native/fault.h; cffi compares the two when it compiles."""


def sources() -> list[str]:
    """Absolute paths of the C files, those of the target's files with them; lwIP is compiled inside lwip.c."""
    return [str(path) for folder in (HERE, HERE.parent / "files") for path in sorted(folder.glob("*.c"))]


def cflags() -> list[str]:
    """For any of the files. lwIP comes as a system's headers do: our warnings are not asked of it."""
    return [*native.CFLAGS, f"-I{HERE}", "-isystem", str(LWIP / "include"), "-isystem", str(LWIP)]


def include_dirs() -> list[str]:
    """What the includes of our own files start from."""
    return [str(ROOT), *native.include_dirs()]


def declarations() -> str:
    """What cffi parses."""
    marked = re.compile(r"/\* cffi: begin \*/\n(.*?)/\* cffi: end \*/", re.DOTALL)
    return FAULT + "\n".join(marked.findall((HERE / "netstack.h").read_text()))


def ffibuilder(more: tuple[str, ...] = ()) -> FFI:
    """The builder, ready for ``compile``. ``more``: options to the compiler and the linker, for builds of tests."""
    ffi = FFI()
    ffi.cdef(declarations())
    ffi.set_source(
        "layer.netstack._netstack",
        '#include "layer/netstack/netstack.h"\n',
        sources=[*sources(), *native.sources()],
        include_dirs=include_dirs(),
        extra_compile_args=[*cflags(), *more],
        extra_link_args=list(more),
        libraries=["pthread"],
    )
    return ffi
