"""What a field of a message may hold: named types with the bounds that the codec enforces, both when sending
and when reading.

To the type checker each name is the plain type it narrows (``U32`` is ``int``). The bound is an annotation
that ``wire.shapes`` turns into checks and ``wire.document`` into words.
"""

from __future__ import annotations

from typing import Annotated

from wire.record import record

CONTROL_FRAME = 16 * 1024 * 1024
"""Octets of any control frame at most, its length word aside. Configure is the largest: two files and an
environment.
"""

DATA_FRAME = 65_536 + 128
"""Octets of any frame of a data link at most (``MUX_FRAME_MAX`` in native/mux.h)."""

FIRST_FRAME = 8192
"""Octets of the frame that opens a link, at most: read from a peer that has not proved anything yet."""

MANY = 65_536
"""Elements of any array at most: as many as there are ports."""


@record
class Whole:
    """An integer from ``low`` to ``high``, both included; never a bool."""

    low: int
    high: int


@record
class Text:
    """A string of at most ``limit`` octets of UTF-8 without NUL.

    ``prose``: a sentence for people. It is cut and mended when sent instead of refused, so that an error can
    always be told.
    """

    limit: int
    prose: bool = False


@record
class Octets:
    """Bytes: at most ``limit``, or, when ``lengths`` are given, exactly one of those lengths."""

    limit: int
    lengths: tuple[int, ...] = ()


U8 = Annotated[int, Whole(0, 0xFF)]
U32 = Annotated[int, Whole(0, 0xFFFF_FFFF)]
U64 = Annotated[int, Whole(0, 0xFFFF_FFFF_FFFF_FFFF)]
PortNumber = Annotated[int, Whole(0, 0xFFFF)]
Prefix = Annotated[int, Whole(0, 128)]
Errno = Annotated[int, Whole(0, 4095)]  # MAX_ERRNO of the kernel
Level = Annotated[int, Whole(0, 100)]

Name = Annotated[str, Text(255)]
PathText = Annotated[str, Text(4096)]  # PATH_MAX
Regex = Annotated[str, Text(4096)]
Sentence = Annotated[str, Text(4096, prose=True)]

Ip = Annotated[bytes, Octets(16, (4, 16))]
IpOrNone = Annotated[bytes, Octets(16, (0, 4, 16))]
Secret = Annotated[bytes, Octets(32, (32,))]
FileBody = Annotated[bytes, Octets(1024 * 1024)]
Argument = Annotated[bytes, Octets(131_072)]  # MAX_ARG_STRLEN of the kernel: one argument or one variable
Chunk = Annotated[bytes, Octets(65_536)]
