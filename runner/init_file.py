"""mirror-init, taken once out of the bridge image and kept on this machine, as the tar archive that is put
into the app.

It is copied in, and not shared by a volume of the bridge, because that would hand the app the agent's socket too.
"""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
from collections.abc import Awaitable
from pathlib import Path

from runner.engine import Engine
from runner.images import INIT_PATH, KEPT
from runner.plan import INIT


async def archive(engine: Engine, image_id: str, bridge: Awaitable[str], cache: Path) -> bytes:
    """The archive to unpack at /; ``bridge`` gives a container (created will do) of the image ``image_id``."""
    kept = cache / f"init-{image_id.removeprefix('sha256:')[:24]}.tar"
    try:
        return kept.read_bytes()
    except OSError:
        made = packed(unpacked(await engine.get(await bridge, INIT_PATH)))
        _keep(kept, made)
        return made


def unpacked(tar: bytes) -> bytes:
    """The one file of the engine's answer."""
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive_:
        for member in archive_:
            if (file := archive_.extractfile(member)) is not None:
                return file.read()
    raise ValueError(f"{INIT_PATH} is no file in the bridge's image")


def packed(program: bytes) -> bytes:
    """An archive with the program at its path in the app, executable by all and writable by none."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.USTAR_FORMAT) as archive_:
        folder = tarfile.TarInfo(os.path.dirname(INIT).lstrip("/"))
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        archive_.addfile(folder)
        entry = tarfile.TarInfo(INIT.lstrip("/"))
        entry.mode, entry.size = 0o755, len(program)
        archive_.addfile(entry, io.BytesIO(program))
    return made.getvalue()


def _keep(path: Path, content: bytes) -> None:
    """Whole or not at all: another run may be reading."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(content)
        os.replace(file.name, path)
        earlier = sorted(path.parent.glob("init-*.tar"), key=lambda one: one.stat().st_mtime, reverse=True)
        for one in earlier[KEPT:]:  # of as many versions as the engine keeps images of
            one.unlink(missing_ok=True)
    except OSError:
        pass  # a home that cannot be written costs 20 ms at each run, nothing else
