"""mirror-init kept on this machine: once for each version, and of few versions."""

from __future__ import annotations

import asyncio
import io
import os
import tarfile
from pathlib import Path

from runner import init_file
from runner.images import KEPT


class Engine:
    """Answers with the program, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def get(self, container: str, path: str) -> bytes:
        self.asked += 1
        program = b"program of " + container.encode()
        ours = {"mirror-init": program, "layer.so": b"library", "layer-musl.so": b"musl's"}
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w") as archive:
            folder = tarfile.TarInfo("mirror-run")
            folder.type = tarfile.DIRTYPE
            archive.addfile(folder)
            for name, content in ours.items():
                entry = tarfile.TarInfo(f"mirror-run/{name}")
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
        return made.getvalue()


async def taken(engine: Engine, image: str, cache: Path) -> bytes:
    bridge: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    bridge.set_result("a bridge")
    return await init_file.archive(engine, image, bridge, cache)  # type: ignore[arg-type]


def age(folder: Path) -> None:
    """Each is a minute older than the next."""
    for kept in folder.iterdir():
        os.utime(kept, (kept.stat().st_mtime - 60, kept.stat().st_mtime - 60))


async def test_the_engine_is_asked_once(tmp_path: Path) -> None:
    engine = Engine()
    first = await taken(engine, "sha256:" + "a" * 64, tmp_path)
    assert await taken(engine, "sha256:" + "a" * 64, tmp_path) == first
    assert engine.asked == 1
    with tarfile.open(fileobj=io.BytesIO(first)) as archive:
        assert {member.mode for member in archive} == {0o755}
        program = archive.extractfile(".mirror-run/init")
        layer = archive.extractfile(".mirror-run/lib/x86_64-linux-gnu/layer.so")
        assert program is not None
        assert layer is not None
        assert (program.read(), layer.read()) == (b"program of a bridge", b"library")
        other = archive.extractfile(".mirror-run/$LIB/layer.so")
        assert other is not None
        assert other.read() == b"musl's"


async def test_versions_nobody_runs_any_more_are_forgotten(tmp_path: Path) -> None:
    for number in range(KEPT + 3):
        await taken(Engine(), f"sha256:{number:064x}"[::-1], tmp_path)
        age(tmp_path)
    assert len(os.listdir(tmp_path)) == KEPT


async def test_a_home_that_cannot_be_written_costs_nothing_but_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert await taken(Engine(), "sha256:" + "b" * 64, tmp_path / "file" / "below")
