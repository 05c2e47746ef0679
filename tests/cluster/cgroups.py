"""A cgroup of its own for each part of the cluster, in both versions of cgroups; what containers made in it goes too.

The paths come from the mount table, not from a list of controllers: a machine with version 1, with version 2 alone, or
with both side by side (systemd's "hybrid") differs only in what is mounted (cgroups(7)).
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PREFIX = "mirror-run-"
TOP = "/sys/fs/cgroup"
WANTED = ("cpu", "cpuset", "io", "memory", "pids", "hugetlb")
"""Controllers that the kubelet uses in version 2, as far as the machine has them."""


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """One mounted tree of cgroups."""

    mount: str
    version: int
    whole: bool
    """The machine's only one, so that the kubelet's controllers are here (version 2 alone)."""

    def group(self, name: str) -> Path:
        return Path(self.mount, PREFIX + name)


def hierarchies(mountinfo: str | None = None) -> list[Hierarchy]:
    """Those below /sys/fs/cgroup (proc(5), mountinfo: the mount point is field 5, the type comes after the dash)."""
    text = Path("/proc/self/mountinfo").read_text() if mountinfo is None else mountinfo
    found: dict[str, int] = {}
    for line in text.splitlines():
        before, after = line.split(" - ", 1)
        mount, kind = before.split()[4], after.split()[0]
        if kind in ("cgroup", "cgroup2") and (mount == TOP or mount.startswith(TOP + "/")):
            found[mount] = 2 if kind == "cgroup2" else 1
    return [Hierarchy(mount, version, whole=mount == TOP) for mount, version in sorted(found.items())]


def make(name: str) -> list[str]:
    """Makes the part's cgroups; the files a process writes its pid to, to be in them."""
    files: list[str] = []
    for tree in hierarchies():
        group = tree.group(name)
        group.mkdir(exist_ok=True)
        if tree.whole:
            delegate(Path(tree.mount))
        elif tree.version == 1 and (group / "cpuset.cpus").exists():
            for file in (
                "cpuset.cpus",
                "cpuset.mems",
            ):  # a new cpuset is empty, and nobody can enter an empty one
                (group / file).write_text(Path(tree.mount, file).read_text())
        files.append(str(group / "cgroup.procs"))
    return files


def delegate(group: Path) -> None:
    """Version 2: lets the children of a cgroup have its controllers."""
    has = (group / "cgroup.controllers").read_text().split()
    given = (group / "cgroup.subtree_control").read_text().split()
    for name in WANTED:
        if name in has and name not in given:
            try:
                (group / "cgroup.subtree_control").write_text(f"+{name}")
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
                raise OSError(
                    errno.EBUSY,
                    f"processes live in {group} itself, so that its children cannot have the {name} controller "
                    "(cgroups(7), 'no internal processes'): move them to a cgroup below it",
                ) from error


def clear(name: str, patience: float = 10.0) -> None:
    """Removes the part's cgroups, with all that was made below them. The part has ended.

    Nothing is killed: all that ever lived there was in the part's pid namespace, so what is alive is somebody else's.
    """
    for tree in hierarchies():
        group = tree.group(name)
        deadline = time.monotonic() + patience
        while group.is_dir():
            try:
                for path, _, _ in os.walk(group, topdown=False):
                    os.rmdir(path)
            except (
                OSError
            ) as error:  # EBUSY until the last one that died is collected: version 1 tells nobody
                if time.monotonic() > deadline:
                    alive = ", ".join(map(str, _members(group))) or "nobody"
                    raise RuntimeError(
                        f"{group} cannot be removed ({error}); in it lives: {alive}"
                    ) from error
                time.sleep(0.02)


def _members(group: Path) -> Iterator[int]:
    for path, _, _ in os.walk(group):
        try:
            yield from (int(word) for word in Path(path, "cgroup.procs").read_text().split())
        except OSError:
            continue  # removed meanwhile
