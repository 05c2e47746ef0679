"""When a program that a test started is ready: it says so on its stderr. What it said before, or instead, is told."""

from __future__ import annotations

import asyncio

PATIENCE = 10.0


async def says(stderr: asyncio.StreamReader | None, words: str) -> None:
    """Reads lines until one has ``words``. AssertionError with all that was said when none comes.

    Another line may come first: of an agent on a machine that is a container itself, that it does not see the whole.
    """
    assert stderr is not None
    said = ""
    try:
        async with asyncio.timeout(PATIENCE):
            while words not in said:
                line = (await stderr.readline()).decode()
                assert line, f"it ended without {words!r}: {said}"
                said += line
    except TimeoutError:
        raise AssertionError(f"no {words!r} within {PATIENCE} s: {said}") from None
