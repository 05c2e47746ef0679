"""Fact 18: a FUSE mount that is attached nowhere serves descriptors to anybody, and there is no way up out of it.

And fact 21's part: what is left of such descriptors when the server has died.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
import textwrap

import pytest

from tests.facts.fuse import CONTENT, Server

pytestmark = pytest.mark.net

NOBODY = (
    "unshare",
    "--mount",
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--bounding-set=-all",
)
"""As an app's process has it: another mount namespace, another user, no capability."""


def as_nobody(code: str, *fds: int) -> dict[str, object]:
    """What the code finds, as JSON of its ``found``; the descriptors have the same numbers there."""
    whole = "import json, mmap, os, sys\nfound = {}\n" + textwrap.dedent(code) + "\nprint(json.dumps(found))"
    command = [*NOBODY, "/usr/bin/python3", "-I", "-c", whole, *map(str, fds)]
    done = subprocess.run(command, pass_fds=fds, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_everything_works_by_a_descriptor_alone(server: Server) -> None:
    root = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=server.mount)
    file = os.open("file", os.O_RDONLY, dir_fd=server.mount)
    found = as_nobody(
        """
        root, file = map(int, sys.argv[1:])
        found["read"] = os.read(file, 1 << 20).decode()
        found["mmap"] = bytes(mmap.mmap(file, 0, prot=mmap.PROT_READ)[:]).decode()
        found["size"] = os.fstat(file).st_size
        found["names"] = sorted(os.listdir(root))
        found["openat"] = os.read(os.open("file", os.O_RDONLY, dir_fd=root), 1 << 20).decode()
        """,
        root,
        file,
    )
    text = CONTENT.decode()
    assert found == {
        "read": text,
        "mmap": text,
        "size": len(CONTENT),
        "names": ["dir", "file"],
        "openat": text,
    }
    os.close(root)
    os.close(file)


@pytest.mark.parametrize("start", [".", "dir"])
def test_above_its_root_there_is_its_root(server: Server, start: str) -> None:
    root = os.stat(".", dir_fd=server.mount)
    folder = os.open(start, os.O_RDONLY | os.O_DIRECTORY, dir_fd=server.mount)
    found = as_nobody(
        """
        folder = int(sys.argv[1])
        for way in ("../..", f"/proc/self/fd/{folder}/../..", "../../etc/passwd", f"/proc/self/fd/{folder}/../../etc"):
            try:
                there = os.stat(way, dir_fd=folder)
                found[way[-8:]] = [there.st_dev, there.st_ino]
            except OSError as error:
                found[way[-8:]] = error.errno
        os.chdir(folder)
        os.chdir("../../..")
        found["cwd"] = [os.stat(".").st_dev, os.stat(".").st_ino]
        """,
        folder,
    )
    home = [root.st_dev, root.st_ino]
    assert found.pop("cwd") == home
    assert set(map(str, found.values())) == {str(home), str(errno.ENOENT)}
    os.close(folder)


def test_what_a_dead_server_leaves() -> None:
    server = Server()
    seen = os.open("file", os.O_RDONLY, dir_fd=server.mount)
    unseen = os.open("file", os.O_RDONLY | os.O_DIRECT, dir_fd=server.mount)
    root = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=server.mount)
    assert os.read(seen, len(CONTENT)) == CONTENT
    server.die()
    assert os.pread(seen, 100, 0) == CONTENT[:100], "what the page cache has is still read"
    for deed in (
        lambda: os.pread(unseen, 100, 0),
        lambda: os.fstat(seen),
        lambda: os.open("dir", os.O_RDONLY, dir_fd=root),
    ):
        with pytest.raises(OSError) as refused:
            deed()
        assert refused.value.errno == errno.ENOTCONN
    for fd in (
        seen,
        unseen,
    ):  # a file's close is a FLUSH, which nobody answers; the descriptor is gone all the same
        with pytest.raises(OSError, match="not connected"):
            os.close(fd)
    os.close(root)
    os.close(server.mount)
