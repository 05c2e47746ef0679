"""What the images are built from: found in a source tree or in an installed wheel, named by a hash of their content.

A wheel carries ``layer``, ``agent``, ``native`` and ``images`` as data under ``runner/_sources`` and the packages
``wire`` and ``links`` where they are; in a source tree all lie side by side. Knows no engine.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

from wire.record import record

PACKAGES = ("wire", "links")
"""Folders that are import packages of the wheel, and part of the images."""

DATA = ("native", "layer", "agent", "images")
"""Folders that are only data in the wheel."""

KINDS = frozenset({".c", ".cc", ".h", ".py", ".def", ".map", ".S"})
"""What of them is built from; everything else (compiled modules, notes, tests' data) leaves the hash alone."""

NOT_BUILT_FROM = ("images/host/", "images/stack/", "images/ensure.py")
"""Scripts of a source tree that have no part in the images."""

HASH_DIGITS = 12
"""Hexadecimal digits of the hash in an image's tag: 48 bits, among the few tags that one engine ever has."""


@record
class Source:
    """One file: ``path`` in the build context, ``content`` whole."""

    path: str
    content: bytes


@record
class Sources:
    """All files, in the order of their paths."""

    files: tuple[Source, ...]

    def digest(self, *more: str) -> str:
        """The hash of all paths and contents, and of what else decides how the images turn out."""
        whole = hashlib.sha256()
        for part in more:
            whole.update(f"{len(part)}:{part}".encode())
        for file in self.files:
            whole.update(f"{file.path}:{len(file.content)}:".encode())
            whole.update(file.content)
        return whole.hexdigest()[:HASH_DIGITS]

    def archive(self) -> bytes:
        """A tar archive for the engine. Owners, times and modes are fixed: equal sources are equal to its cache."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for file in self.files:
                entry = tarfile.TarInfo(file.path)
                entry.size = len(file.content)
                entry.mode = 0o644
                tar.addfile(entry, io.BytesIO(file.content))
        return buffer.getvalue()


def load(home: Path | None = None) -> Sources:
    """Read them. ``home``: the folder of the ``runner`` package. Raises FileNotFoundError naming what is missing."""
    home = home or Path(__file__).resolve().parent
    bundled = home / "_sources"
    data = bundled if bundled.is_dir() else home.parent
    places = {name: home.parent / name for name in PACKAGES} | {name: data / name for name in DATA}
    files = [
        Source(path, _content(where))
        for name, folder in places.items()
        for path, where in _walk(name, str(folder))
        if not path.startswith(NOT_BUILT_FROM)
    ]
    return Sources(tuple(sorted(files, key=lambda file: file.path)))


def _walk(name: str, folder: str) -> Iterator[tuple[str, str]]:
    """Paths in the build context, and where they lie. As strings: ``Path.rglob`` took 15 ms of each run's start."""
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"{folder} is missing: this installation of mirror-run is not whole")
    for place, _, names in os.walk(folder):
        inside = name + place[len(folder) :].replace(os.sep, "/")
        for one in names:
            if os.path.splitext(one)[1] in KINDS or one == "Dockerfile":
                yield f"{inside}/{one}", os.path.join(place, one)


def _content(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.readall()
