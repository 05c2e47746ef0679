"""mirror-link: its stdin and stdout, joined to a Unix socket that it dials, or serves to one who comes."""

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


async def serving(program: str, path: Path) -> asyncio.subprocess.Process:
    """The program, listening there: the name appears when it does."""
    before = _inode(path)
    process = await asyncio.create_subprocess_exec(
        program, "--serve", str(path), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(10):
        while _inode(path) in (0, before):  # noqa: ASYNC110 there is no event for a name
            await asyncio.sleep(0.005)
    return process


def _inode(path: Path) -> int:
    try:
        return path.lstat().st_ino
    except FileNotFoundError:
        return 0


async def test_served_once_and_then_by_the_next(program: str, tmp_path: Path) -> None:
    path = tmp_path / "0.sock"
    first = await serving(program, path)
    assert path.stat().st_mode & 0o777 == 0o600
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"one")
    assert first.stdout is not None
    assert await asyncio.wait_for(first.stdout.readexactly(3), 10) == b"one"
    assert not path.exists(), "who has been taken is not to be found any more"
    second = await serving(program, path)
    again, writes = await asyncio.open_unix_connection(path)
    writes.write(b"two")
    assert second.stdout is not None
    assert await asyncio.wait_for(second.stdout.readexactly(3), 10) == b"two"
    for process, from_it, to_it, word in ((first, reader, writer, b"1"), (second, again, writes, b"2")):
        assert process.stdin is not None
        process.stdin.write(word)
        assert await asyncio.wait_for(from_it.readexactly(1), 10) == word
        to_it.close()
        assert await asyncio.wait_for(process.wait(), 10) == 0


async def test_served_both_ways_to_the_last_octet(program: str, tmp_path: Path) -> None:
    """Serving, the end of either side is the end of all, but nothing that came before it is lost."""
    octets = os.urandom(3_000_001)
    process = await serving(program, tmp_path / "s")
    reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
    assert process.stdin is not None
    assert process.stdout is not None
    writer.write(octets)
    assert await asyncio.wait_for(process.stdout.readexactly(len(octets)), 20) == octets
    process.stdin.write(octets)
    process.stdin.close()
    assert await asyncio.wait_for(reader.read(-1), 20) == octets
    assert await asyncio.wait_for(process.wait(), 10) == 0
    writer.close()


async def test_neither_side_waits_for_the_other(program: str, tmp_path: Path) -> None:
    """Both sides send before either reads, more than any buffer holds: who reads gets on."""
    octets = os.urandom(8_000_000)
    process = await serving(program, tmp_path / "s")
    reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
    assert process.stdin is not None
    assert process.stdout is not None
    writer.write(octets)
    process.stdin.write(octets)
    up, down = await asyncio.wait_for(
        asyncio.gather(reader.readexactly(len(octets)), process.stdout.readexactly(len(octets))), 20
    )
    assert (up, down) == (octets, octets)
    writer.close()
    assert await asyncio.wait_for(process.wait(), 10) == 0


async def test_a_spare_ends_with_who_started_it(program: str, tmp_path: Path) -> None:
    path = tmp_path / "s"
    process = await serving(program, path)
    assert process.stdin is not None
    process.stdin.close()
    assert await asyncio.wait_for(process.wait(), 10) == 0
    assert not path.exists()


async def test_a_name_that_a_dead_one_left_is_taken(program: str, tmp_path: Path) -> None:
    path = tmp_path / "s"
    dead = await serving(program, path)
    dead.kill()
    await dead.wait()
    assert path.exists()
    process = await serving(program, path)
    _, writer = await asyncio.open_unix_connection(path)
    writer.close()
    assert await asyncio.wait_for(process.wait(), 10) == 0


def test_usage(program: str) -> None:
    for arguments in ([], ["--serve"], ["a", "b"]):
        done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=30)
        assert done.returncode == 2
        assert "usage: mirror-link [--serve] PATH" in done.stderr
