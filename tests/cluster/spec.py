"""What a part of the cluster is, as data: the host writes it, the part's first process (init.py) makes it so."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Mount:
    """mount(8): `kind` a file system type, or "bind"."""

    kind: str
    source: str
    target: str
    options: str = ""


@dataclass(frozen=True, slots=True)
class Program:
    """One that is started, and started again when it ends."""

    name: str
    arguments: list[str]
    before: list[list[str]] = field(default_factory=list)
    """Commands that have to succeed first, in this order; each is tried until it does."""


@dataclass(frozen=True, slots=True)
class Part:
    """One set of namespaces: a machine, as far as Kubernetes can tell."""

    name: str
    links: list[str]
    """Interfaces that the host puts into its network namespace."""
    mounts: list[Mount]
    files: dict[str, str]
    """Path: content; written after the mounts."""
    covers: dict[str, str]
    """Path: content; a file that reads so is mounted over it, and what is written to it reaches nobody."""
    commands: list[list[str]]
    """Once, after the mounts and the links, before the programs."""
    programs: list[Program]
    logs: str
    held: str
    """A folder: a program whose name is a file in it is not started again. SIGHUP says that it changed."""
    cgroups: list[list[str]] = field(default_factory=list)
    """[mount, version] of each hierarchy (cgroups.py)."""

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1))

    @classmethod
    def load(cls, path: Path) -> Part:
        read = json.loads(path.read_text())
        read["mounts"] = [Mount(**one) for one in read["mounts"]]
        read["programs"] = [Program(**one) for one in read["programs"]]
        return cls(**read)
