"""How ``agent._engine`` is compiled: cffi in API mode, the headers' marked parts as the declaration.

Only lists and options; ``images/build_native.py`` runs the compiler.
"""

from __future__ import annotations

import re
from pathlib import Path

from cffi import FFI

from native import sources as native

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent

NOT_OF_THE_MODULE = ("link.c",)
"""Programs of their own."""

DECLARED = ("engine.h", "identity.h")
"""Headers whose parts between ``cffi: begin`` and ``cffi: end`` Python sees."""

FAULT = "struct fault { int err; char text[192]; };\n"
"""As in native/fault.h; cffi compares the two when it compiles."""


def sources() -> list[str]:
    """Absolute paths of the agent's C files."""
    files = [path for path in sorted(HERE.glob("*.c")) if path.name not in NOT_OF_THE_MODULE]
    rooms = [path for room in ("files", "http") for path in sorted((HERE / room).glob("*.c"))]
    return [str(path) for path in [*files, *rooms]]


def declarations() -> str:
    """What cffi parses: the marked parts, without preprocessor lines."""
    marked = re.compile(r"/\* cffi: begin \*/\n(.*?)/\* cffi: end \*/", re.DOTALL)
    parts = [part for header in DECLARED for part in marked.findall((HERE / header).read_text())]
    return FAULT + "\n".join(parts)


def ffibuilder(*objects: str) -> FFI:
    """The builder, ready for ``compile``. ``objects`` are linked in: what is not C (agent/http/pattern.cc)."""
    ffi = FFI()
    ffi.cdef(declarations())
    ffi.set_source(
        "agent._engine",
        '#include "agent/engine.h"\n#include "agent/identity.h"\n',
        sources=[*sources(), *native.sources()],
        include_dirs=[str(ROOT), *native.include_dirs()],
        extra_compile_args=list(native.CFLAGS),
        extra_objects=list(objects),
        libraries=["re2", "nghttp2", "stdc++", "pthread"],
    )
    return ffi
