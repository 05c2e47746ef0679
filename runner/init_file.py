"""What of ours is in an app's container, mirror-init and the layer's library: taken once out of the bridge image and
kept on this machine, as the tar archive that is put into the app.

It is copied in, and not shared by a volume of the bridge, because that would hand the app the agent's socket too.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Awaitable, Mapping
from pathlib import Path

from runner.cache import keep
from runner.engine import Engine
from runner.images import APP_FOLDER, KEPT
from runner.plan import INIT

LAYER, LAYER_MUSL = "layer.so", "layer-musl.so"
"""Their names in the bridge's image; in the app both have the first."""

MUSL_FOLDER = "$LIB"
"""musl's loader knows no variables."""

GLIBC_FOLDERS = ("lib", "lib64", "lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu")
"""What the loader of a glibc makes of $LIB (ld.so(8)): as distributions have it, Debian's for both machines."""


async def archive(engine: Engine, image_id: str, bridge: Awaitable[str], cache: Path) -> bytes:
    """The archive to unpack at /; ``bridge`` gives a container (created will do) of the image ``image_id``."""
    kept = cache / f"init-{image_id.removeprefix('sha256:')[:24]}.tar"
    try:
        return kept.read_bytes()
    except OSError:
        made = packed(files(await engine.get(await bridge, APP_FOLDER)))
        keep(kept, made, "init-*.tar", KEPT)  # of as many versions as the engine keeps images of
        return made


def unpacked(tar: bytes) -> bytes:
    """The one file of the engine's answer."""
    return next(iter(files(tar).values()))


def files(tar: bytes) -> dict[str, bytes]:
    """Of the engine's answer, by the last part of their names."""
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive_:
        return {
            os.path.basename(member.name): file.read()
            for member in archive_
            if (file := archive_.extractfile(member)) is not None
        }


def packed(ours: Mapping[str, bytes]) -> bytes:
    """An archive with mirror-init and the layer at their paths in the app, for all to execute and none to write.

    The layer is there under each name that a loader may look for (layer/init/layer.h), one file with several links.
    """
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.USTAR_FORMAT) as archive_:
        folder = os.path.dirname(INIT).lstrip("/")
        _add_folder(archive_, folder)
        _add_file(archive_, INIT.lstrip("/"), ours["mirror-init"])
        _add_file(archive_, f"{folder}/{LAYER}", ours[LAYER])
        for name in GLIBC_FOLDERS:
            _add_folder(archive_, f"{folder}/{name}")
            link = tarfile.TarInfo(f"{folder}/{name}/{LAYER}")
            link.type, link.linkname, link.mode = tarfile.LNKTYPE, f"{folder}/{LAYER}", 0o755
            archive_.addfile(link)
        _add_folder(archive_, f"{folder}/{MUSL_FOLDER}")
        _add_file(archive_, f"{folder}/{MUSL_FOLDER}/{LAYER}", ours[LAYER_MUSL])
    return made.getvalue()


def _add_folder(archive_: tarfile.TarFile, path: str) -> None:
    folder = tarfile.TarInfo(path)
    folder.type, folder.mode = tarfile.DIRTYPE, 0o755
    archive_.addfile(folder)


def _add_file(archive_: tarfile.TarFile, path: str, content: bytes) -> None:
    entry = tarfile.TarInfo(path)
    entry.mode, entry.size = 0o755, len(content)
    archive_.addfile(entry, io.BytesIO(content))
