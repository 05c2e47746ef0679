"""The known octets that bulk transfers carry: a period of 251, which no buffer size shares, so that any slip shows."""

from __future__ import annotations

from collections.abc import Iterator

PERIOD = 251
PATTERN = bytes(range(PERIOD)) * 1044


def pattern(count: int, chunk: int = 1 << 18) -> Iterator[bytes]:
    """`count` octets in pieces of at most `chunk`."""
    offset = 0
    while offset < count:
        start = offset % PERIOD
        piece = PATTERN[start : start + min(chunk, count - offset, len(PATTERN) - PERIOD)]
        yield piece
        offset += len(piece)
