"""The C files of native, and how they are compiled: both extension modules build them in, with these flags.

Nothing here runs a compiler; ``layer/netstack/build.py`` and ``agent/build.py`` hand the lists to cffi.
"""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).resolve().parent

NAMES = (
    "fault.c",
    "addr.c",
    "span.c",
    "msgpack.c",
    "loop.c",
    "outbox.c",
    "post.c",
    "thread.c",
    "stream.c",
    "spares.c",
    "backlog.c",
    "packets.c",
    "mux_frame.c",
    "mux_queue.c",
    "mux_kept.c",
    "mux_table.c",
    "mux_channel.c",
    "mux_resume.c",
    "mux.c",
    "sockdiag.c",
    "view.c",
    "view_write.c",
    "fragments.c",
)

DEFINES = ("-D_GNU_SOURCE",)

WARNINGS = (
    "-Wall",
    "-Wextra",
    "-Wshadow",
    "-Wstrict-prototypes",
    "-Wmissing-prototypes",
    "-Wvla",
    "-Wundef",
    "-Werror",
)
"""For files of ours. What cffi generates and what is compiled from elsewhere (lwIP) is built without them."""

CFLAGS = ("-std=gnu11", "-O2", "-g", "-fvisibility=hidden", "-fno-strict-aliasing", *DEFINES)
"""Enough for any file of an extension module, generated ones included."""


def sources() -> list[str]:
    """Absolute paths of native's C files."""
    return [str(HERE / name) for name in NAMES]


def include_dirs() -> list[str]:
    """What ``#include "mux.h"`` needs."""
    return [str(HERE)]
