"""Which folder of this machine the app sees at its own path: the git work tree around the caller's directory."""

from __future__ import annotations

from pathlib import Path

from wire.record import record

SYSTEM = frozenset(
    (
        "/",
        "/bin",
        "/boot",
        "/dev",
        "/etc",
        "/home",
        "/lib",
        "/lib64",
        "/opt",
        "/proc",
        "/root",
        "/run",
        "/sbin",
        "/sys",
        "/tmp",
        "/usr",
        "/usr/bin",
        "/usr/lib",
        "/usr/local",
        "/var",
        "/var/lib",
        "/var/tmp",
        "/Users",
        "/Library",
        "/System",
        "/private",
        "/Volumes",
    )
)
"""Mounted over the image's own, these would take its programs, libraries or accounts away."""


@record
class WorkTree:
    """``root`` is mounted at its own path. None: nothing is, and ``why`` says why."""

    root: Path | None
    why: str = ""


def around(cwd: Path, home: Path) -> WorkTree:
    """The git work tree (a folder with a .git, be it a file, as of a linked work tree), else the directory itself."""
    tree = next((folder for folder in (cwd, *cwd.parents) if (folder / ".git").exists()), None)
    for root in (tree, cwd):
        if root is not None and not _too_much(root, home):
            return WorkTree(root)
    return WorkTree(
        None, f"{cwd} is no project folder, so nothing of this machine is mounted; -v mounts a folder"
    )


def _too_much(root: Path, home: Path) -> bool:
    return str(root) in SYSTEM or root == home or root in home.parents
