"""A link over this process's own standard streams, as the bridge has with its runner."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from links.link import Link
from wire.messages import Done, GetEnviron, LinkLost, Ping

ROOT = Path(__file__).resolve().parents[2]

CHILD = """
import asyncio
from links.link import Link
from links.stdio import stdio
from wire.messages import Environ, LinkLost

async def main():
    async with Link(*await stdio(), name="runner") as link:
        async for question in link.incoming():
            await link.send(LinkLost("a notice before the answer"))
            await link.send(Environ(question.call, (bytes(100_000),) * 40, "/"))

asyncio.run(main())
"""


async def test_calls_notices_and_the_end_cross_the_standard_streams() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        CHILD,
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    async with Link(process.stdout, process.stdin, name="bridge") as link:
        assert await link.call(Ping(0)) == Done(1)
        answer = await link.call(GetEnviron(0, 0))
        assert answer.variables == (bytes(100_000),) * 40  # type: ignore[attr-defined]
        assert [await anext(link.incoming())] == [LinkLost("a notice before the answer")]
    assert await process.wait() == 0
