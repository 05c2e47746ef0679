"""Files that can be made again, kept so that they need not be: whole or not at all, and a few of a kind."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def keep(path: Path, content: bytes, kind: str, most: int) -> None:
    """Another run may be reading it, or writing it too. ``kind``: names of such files, of which the ``most`` latest
    stay. A home that cannot be written costs the making at each run, nothing else."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(content)
        os.replace(file.name, path)
        earlier = sorted(path.parent.glob(kind), key=lambda one: one.stat().st_mtime, reverse=True)
        for one in earlier[most:]:
            one.unlink(missing_ok=True)
    except OSError:
        pass
