"""mirror-init itself, in an image with nothing but a static program: the target's files for it, and what is said where
no listener can be had.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.files.rules import Mode, Rules, Wishes
from tests.net.layer.container import Container, placed
from tests.net.layer.space import Space
from tests.net.preload.standin import StandIn
from wire.messages import User

pytestmark = pytest.mark.net

ROOT = Path(__file__).resolve().parents[3]
OPEN, WITHOUT_LAYER = 1, 20
ADA = User(4242, 4343, (4343,), "ada", "/home/ada")


class Scratch(Container):
    """Its root has mirror-init, `bare`, and the folders that an engine makes; the target's files are in ``tree``."""

    def __init__(self, program: Path, space: Space, tmp: Path) -> None:
        super().__init__(program, space, tmp)
        self.scratch, self.tree = tmp / "scratch", tmp / "tree"
        self.starts = ["/init"]
        for folder in (self.scratch / "proc", self.scratch / ".mirror-run", self.tree / "srv"):
            folder.mkdir(parents=True)
        (self.tree / "srv" / "file").write_text("the target's\n")
        shutil.copy(program, self.scratch / "init")
        source, made = ROOT / "tests/net/preload/bare.c", self.scratch / "bare"
        subprocess.run(["gcc", "-O1", "-static", f"-I{ROOT}", "-o", str(made), str(source)], check=True)

    def spawn(self, stdin: int) -> subprocess.Popen[bytes]:
        script = 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"'
        inside = [
            "unshare",
            "--pid",
            "--fork",
            "--mount",
            "sh",
            "-c",
            script,
            str(self.scratch),
            *self.starts,
        ]
        command = ["nsenter", f"--net=/proc/{os.getpid()}/fd/{self.space.fd}", "--", *inside]
        return subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def ruled(self, door: StandIn) -> bytes:
        rules = Rules(Mode.OVERRIDES, Wishes(read_only=("^/srv(/|$)",)))
        return b"MRFILES1" + struct.pack("=Q", door.device) + rules.packed()


@pytest.fixture
def scratch(program: Path, tmp_path: Path) -> Iterator[Scratch]:
    with placed(Scratch, program, tmp_path) as made:
        yield made


def test_a_static_command_reads_the_target(scratch: Scratch) -> None:
    """As a user, with nothing else in the image; what it starts reads it too."""
    with StandIn(scratch.tree, scratch.space) as door:
        command = ("/bare", "fork", "/bare", "cat", "/srv/file")
        assert scratch.run(*command, user=ADA, rules=scratch.ruled(door)) == (0, "the target's\n", "")
        assert door.asked == {OPEN: 1}
        assert door.users == {ADA.uid}


def test_an_engine_that_forbids_it_is_said_and_the_programs_are_counted(scratch: Scratch) -> None:
    scratch.starts = ["/bare", "forbid", "/init"]
    with StandIn(scratch.tree, scratch.space) as door:
        code, out, err = scratch.run("/bare", "cat", "/srv/file", user=ADA, rules=scratch.ruled(door))
        assert (code, out) == (0, "errno 2\n")
        assert err == (
            "mirror-run: static programs see only the container's own files:"
            " the engine lets nobody listen to system calls: Operation not permitted\n"
        )
        assert door.asked == {WITHOUT_LAYER: 1}


def test_without_files_there_is_no_listener(scratch: Scratch) -> None:
    assert scratch.run("/bare", "cat", "/srv/file", user=ADA) == (0, "errno 2\n", "")
