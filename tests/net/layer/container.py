"""mirror-init as the first process of a pid namespace, with a door played by the test."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

from tests.net.layer.space import Space
from wire import frames
from wire.messages import InitHello, Start, User

SELF = User(0, 0)

C = TypeVar("C", bound="Container")


class Container:
    """Runs mirror-init in namespaces of its own; ``visitor`` is its connection to the door."""

    def __init__(self, program: Path, space: Space, tmp: Path) -> None:
        self.program, self.space, self.tmp = program, space, tmp
        self.root: Path | None = None  # instead of the machine's own
        for name in ("passwd", "group"):
            (tmp / name).write_text(f"root:x:0:{'0:root:/root:/bin/sh' if name == 'passwd' else ''}\n")
        with space.inside():
            self.door = socket.socket(socket.AF_UNIX)
        self.door.bind("\0mirror-run/door")
        self.door.listen()
        self.door.settimeout(5)

    def start(
        self,
        *argv: str,
        user: User = SELF,
        environ: tuple[bytes, ...] = (),
        cwd: str = "/",
        stdin: int = subprocess.DEVNULL,
        rules: bytes = b"",
    ) -> subprocess.Popen[bytes]:
        """The process to wait for (unshare's, which ends as mirror-init does), after Start was given."""
        self.process = self.spawn(stdin)
        self.visitor, _ = self.door.accept()
        self.visitor.settimeout(5)
        length = int.from_bytes(self.visitor.recv(4, socket.MSG_WAITALL), "big")
        assert frames.unpack(self.visitor.recv(length, socket.MSG_WAITALL)) == InitHello(1)
        start = Start(tuple(one.encode() for one in argv), environ, user, cwd, rules)
        self.visitor.sendall(frames.pack(start))
        return self.process

    def spawn(self, stdin: int) -> subprocess.Popen[bytes]:
        binds = "".join(f"mount --bind {self.tmp / name} /etc/{name} && " for name in ("passwd", "group"))
        terminal = stdin >= 0 and os.isatty(stdin)
        net = f"--net=/proc/{os.getpid()}/fd/{self.space.fd}"
        shell = f"{binds} exec {'setsid --ctty' if terminal else ''} {self.program}"
        if self.root is None:
            inside = ["--mount-proc", "--", "sh", "-c", shell]
        else:
            inside = ["--root", str(self.root), "--", "/init"]
        command = ["nsenter", net, "--", "unshare", "--pid", "--fork", *inside]
        clean = {
            "PATH": "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin",
            "OF_IMAGE": "image",
            "BOTH": "image",
        }
        out = stdin if terminal else subprocess.PIPE
        return subprocess.Popen(command, stdin=stdin, stdout=out, stderr=out, env=clean)

    def init_pid(self) -> int:
        """mirror-init's pid here: unshare's only child."""
        return int(Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text())

    def run(self, *argv: str, **more: object) -> tuple[int, str, str]:
        """Exit code, stdout, stderr."""
        process = self.start(*argv, **more)  # type: ignore[arg-type]
        out, err = process.communicate(timeout=10)
        return process.returncode, out.decode(), err.decode()

    def wait_line(self) -> bytes:
        """The command's next line; it has come so far."""
        assert self.process.stdout is not None
        assert select.select([self.process.stdout], [], [], 5)[0]
        return os.read(self.process.stdout.fileno(), 65536)

    def close(self) -> None:
        if hasattr(self, "process"):
            if self.process.poll() is None:
                os.kill(self.init_pid(), signal.SIGKILL)
            self.process.communicate()
        if hasattr(self, "visitor"):
            self.visitor.close()
        self.door.close()


@contextmanager
def placed(kind: type[C], program: Path, tmp: Path) -> Iterator[C]:
    """One in a network of its own, closed behind the block."""
    with closing(Space()) as space, closing(kind(program, space, tmp)) as made:
        yield made
