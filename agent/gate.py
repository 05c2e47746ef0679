"""One gate: the program ``mirror-gate`` in a target's network namespace, started, told, heard, and missed when it ends.

What is to be stolen, and for whom, is for ``agent.gates`` to say. Its connections are the engine's from the start.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import shutil
import socket
from collections.abc import Callable
from contextlib import ExitStack

from agent import gate_words
from agent.engine import Engine
from agent.gate_words import Said, Want

log = logging.getLogger(__name__)

PROGRAM = "mirror-gate"

_CONTROL, _HANDOVER, _NETNS = 3, 4, 5
"""Descriptors of the gate's (docs/plan-steal.md). Its 0 is the netlink socket, which it opens itself."""

_ABOVE = 10
"""What is given to it is first put out of the way of what it becomes there."""


class Gate:
    """``heard`` is called with what it says, ``ended`` once, with a sentence when it did so by itself."""

    def __init__(
        self, engine: Engine, heard: Callable[[Gate, Said], None], ended: Callable[[Gate, str], None]
    ) -> None:
        self._engine = engine
        self._heard = heard
        self._ended = ended
        self._serial = 0
        self._number = 0
        self._pid = 0
        self._pidfd = -1
        self._control: socket.socket | None = None
        self._waiting: list[bytes] = []
        self.draining = False
        self.said_why, self.said_errno = "", 0
        """Its last Failed, which says why it ends."""

    def start(self, netns: int, comment: str, program: str = PROGRAM) -> None:
        """In the namespace of this descriptor, which stays the caller's. OSError, EngineFault."""
        found = shutil.which(program)
        if found is None:
            raise FileNotFoundError(2, f"the agent's image has no {program}")
        with ExitStack() as undo:
            ours, control = _pair(undo)
            engines, handover = _pair(undo)
            given = [_copy(fd, undo) for fd in (control.fileno(), handover.fileno(), netns)]
            self._number = self._engine.gate_add(engines.detach())
            try:
                self._pid = os.posix_spawn(found, [program, comment], {}, file_actions=_numbered(given))
                self._pidfd = os.pidfd_open(self._pid)
            except OSError:
                self._engine.gate_del(self._number)
                raise
            self._control = ours.dup()
        self._control.setblocking(False)
        loop = asyncio.get_running_loop()
        loop.add_reader(self._control.fileno(), self._readable)
        loop.add_reader(self._pidfd, self._has_ended)
        log.info("gate %d: started for %s", self._pid, comment)

    def want(self, wanted: Want) -> int:
        """The serial by which it will say that this is in force; a drain is over. ValueError: it is too much."""
        self._serial += 1
        self._say(gate_words.want(self._serial, wanted))
        self.draining = False
        return self._serial

    def sessions(self) -> None:
        """It has just learnt of sessions: it is told again whose links are there."""
        self._engine.gate_sessions(self._number)

    def drain(self, seconds: int) -> None:
        """Nothing is stolen any more, and it ends when the connections through it have, or after so long."""
        self.draining = True
        self._say(gate_words.drain(seconds))

    # --- its control socket ---

    def _say(self, packet: bytes) -> None:
        """A gate takes a packet at once, unless it is stopped; then in order, later. Few are said in a session."""
        if self._control is None:
            return
        self._waiting.append(packet)
        self._write()

    def _write(self) -> None:
        assert self._control is not None
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                self._control.send(self._waiting[0])
                del self._waiting[0]
        except BlockingIOError:
            loop.add_writer(self._control.fileno(), self._write)
            return
        except OSError as error:  # it has gone, and its pidfd says so
            log.debug("gate %d: %s", self._pid, error.strerror)
            self._waiting.clear()
        loop.remove_writer(self._control.fileno())

    def _readable(self) -> None:
        if not self._read():
            assert self._control is not None
            asyncio.get_running_loop().remove_reader(self._control.fileno())

    def _read(self) -> bool:
        """One packet; false at the end, after which its process ends."""
        assert self._control is not None
        try:
            packet = self._control.recv(gate_words.PACKET)
        except OSError:
            packet = b""
        if not packet:
            return False
        said = gate_words.read(packet)
        if said is None:
            log.warning("gate %d: says what is not known here", self._pid)
            return True
        if isinstance(said, gate_words.Failed):
            self.said_why, self.said_errno = said.sentence, said.errno
        self._heard(self, said)
        return True

    def _has_ended(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._pidfd)
        assert self._control is not None
        while self._read():
            pass  # its last words
        loop.remove_reader(self._control.fileno())
        loop.remove_writer(self._control.fileno())
        _, status = os.waitpid(self._pid, 0)
        os.close(self._pidfd)
        self._control.close()
        self._control = None
        self._engine.gate_del(self._number)
        code = os.waitstatus_to_exitcode(status)
        log.log(logging.INFO if code == 0 else logging.WARNING, "gate %d: ended with %d", self._pid, code)
        self._ended(self, "" if code == 0 else self.said_why or _how(code))


def _pair(undo: ExitStack) -> tuple[socket.socket, socket.socket]:
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    undo.enter_context(one)
    undo.enter_context(other)
    return one, other


def _copy(fd: int, undo: ExitStack) -> int:
    copied = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _ABOVE)
    undo.callback(os.close, copied)
    return copied


def _numbered(given: list[int]) -> list[tuple[int, int, int]]:
    """As posix_spawn(3) wants it; whatever else is open here is closed there (CLOEXEC)."""
    wanted = zip(given, (_CONTROL, _HANDOVER, _NETNS), strict=True)
    return [(os.POSIX_SPAWN_DUP2, fd, number) for fd, number in wanted]


def _how(code: int) -> str:
    return f"the gate was killed by signal {-code}" if code < 0 else f"the gate ended with exit code {code}"
