"""mirror-link: its stdin and stdout, joined to a Unix socket, each way ending by itself."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.native

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("link")
    command = [sys.executable, "images/build_native.py", "--only", "mirror-link", "--out", str(out)]
    subprocess.run(command, cwd=ROOT, check=True)
    return str(out / "mirror-link")


@asynccontextmanager
async def joined(
    program: str, path: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, asyncio.StreamReader, asyncio.StreamWriter]]:
    """The program, and the other end of its socket."""
    accepted: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.put_nowait((reader, writer))

    server = await asyncio.start_unix_server(take, path)
    process = await asyncio.create_subprocess_exec(
        program, path, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    reader, writer = await asyncio.wait_for(accepted.get(), 10)
    try:
        yield process, reader, writer
    finally:
        writer.close()
        server.close()
        await asyncio.wait_for(process.wait(), 10)


async def test_there_and_back_and_each_end(program: str, tmp_path: Path) -> None:
    up, down = os.urandom(3_000_001), os.urandom(2_000_003)
    async with joined(program, str(tmp_path / "s")) as (process, reader, writer):
        assert process.stdin is not None
        assert process.stdout is not None

        async def say() -> None:
            process.stdin.write(up)  # type: ignore[union-attr]
            await process.stdin.drain()  # type: ignore[union-attr]
            process.stdin.close()  # type: ignore[union-attr]

        _, got = await asyncio.gather(say(), asyncio.wait_for(reader.read(-1), 20))
        assert got == up  # it saw the end of stdin, while the other way is still open
        writer.write(down)
        writer.close()
        assert await asyncio.wait_for(process.stdout.read(-1), 20) == down
        assert await asyncio.wait_for(process.wait(), 10) == 0


async def test_the_end_of_the_socket_is_its_own(program: str, tmp_path: Path) -> None:
    """Though stdin stays open: nothing can come back."""
    async with joined(program, str(tmp_path / "s")) as (process, _, writer):
        writer.close()
        assert await asyncio.wait_for(process.wait(), 10) == 0


def test_usage(program: str) -> None:
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "usage: mirror-link PATH" in done.stderr
