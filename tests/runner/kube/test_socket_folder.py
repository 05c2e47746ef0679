"""The folder of sockets that a bridge dials: whose it is, how long its path may be, and what a killed runner leaves."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from runner.errors import Refusal
from runner.kube.socket_folder import SocketFolder

ROOT = Path(__file__).resolve().parents[3]


async def test_its_users_alone_and_gone_when_closed(tmp_path: Path) -> None:
    folder = SocketFolder(tmp_path)
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    class Hears(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            heard.put_nowait(data)

    await folder.listen("0.sock", Hears)
    _, writer = await asyncio.open_unix_connection(str(folder.path / "0.sock"))
    writer.write(b"here")
    assert await asyncio.wait_for(heard.get(), 5) == b"here"
    writer.close()
    await writer.wait_closed()
    folder.close()
    assert os.listdir(tmp_path) == []


async def test_a_path_longer_than_a_sockets_may_be(tmp_path: Path) -> None:
    """unix(7): sun_path has 108 octets. The bridge sees the folder at a short path of its own."""
    folder = SocketFolder(tmp_path / ("deep" * 30) / ("deeper" * 20))
    await folder.listen("0.sock", asyncio.Protocol)
    assert len(str(folder.path / "0.sock")) > 200
    opened = os.open(folder.path, os.O_PATH)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(f"/proc/self/fd/{opened}/0.sock")
    os.close(opened)
    folder.close()


HOLDS = """
import sys
from pathlib import Path
from runner.kube.socket_folder import SocketFolder
folder = SocketFolder(Path(sys.argv[1]))
print(folder.path, flush=True)
sys.stdin.read()
"""


def test_what_a_killed_runner_left_is_removed_and_a_living_ones_is_not(tmp_path: Path) -> None:
    (tmp_path / "mirror-run-legs-foreign").mkdir()  # without a lock: not one of these
    command = [sys.executable, "-c", HOLDS, str(tmp_path)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        theirs = Path(other.stdout.readline().strip())
        first = SocketFolder(tmp_path)
        assert theirs.is_dir()
        other.kill()
        other.wait()
        assert theirs.is_dir()
        second = SocketFolder(tmp_path)
        assert not theirs.exists()
        assert first.path.is_dir()
    first.close()
    second.close()
    assert [path.name for path in tmp_path.iterdir()] == ["mirror-run-legs-foreign"]


def test_where_none_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Refusal, match="no folder for the bridge's sockets"):
        SocketFolder(tmp_path / "file" / "below")
