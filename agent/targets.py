"""The containers that one session takes part in, by the runner's indices: entered, left, and missed when they end.

Whether a container may be entered is the warrant's to say, what is in it ``agent.target``'s to find.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping

from agent.engine import Engine
from agent.target import Target
from agent.warrants import Warrant
from wire.messages import Attach

log = logging.getLogger(__name__)

MOST = 64
"""Targets of one session at most: a guard against a peer that counts, well above any compose scale."""


class Targets(Mapping[int, Target]):
    """``changed(index)``: this one is another now, or there no more. ``ended(index)``: its process has, by itself."""

    def __init__(
        self,
        engine: Engine,
        session: int,
        warrant: Warrant,
        *,
        changed: Callable[[int], None],
        ended: Callable[[int], None],
    ) -> None:
        self._engine = engine
        self._session = session
        self._warrant = warrant
        self._changed = changed
        self._ended = ended
        self._targets: dict[int, Target] = {}
        self.gone: set[int] = set()

    def __getitem__(self, index: int) -> Target:
        return self._targets[index]

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(self._targets))

    def __len__(self) -> int:
        return len(self._targets)

    async def attach(self, asked: Attach, still: Callable[[], bool]) -> Target:
        """The container, in the place of whatever had that index.

        ``still``: whether who asked is to be obeyed once the container was found. NotAllowed, NotHere, ValueError,
        OSError, EngineFault.
        """
        index = asked.target
        if index not in self._targets and len(self._targets) >= MOST:
            raise ValueError(f"a session takes part in at most {MOST} targets")
        await self._warrant.may_enter(asked.container, asked.pod)
        target = await Target.find(index, asked.container, asked.pod)
        try:
            self._enter(target, still)
        except BaseException:
            target.close()
            raise
        if index in self._targets:
            self._let_go(self._targets[index])
        self._targets[index] = target
        self.gone.discard(index)
        self._changed(index)
        asyncio.get_running_loop().add_reader(target.pidfd, self._has_ended, target)
        self._warrant.entered(target.container, target.pod)
        log.info("session %d: target %d is pid %d", self._session, index, target.pid)
        return target

    def detach(self, index: int) -> None:
        """What was open from it is reset. One that is not there any more is no error."""
        self.gone.discard(index)
        target = self._targets.pop(index, None)
        if target is not None:
            self._engine.target_del(self._session, index)
            self._let_go(target)
            self._changed(index)

    def close(self) -> None:
        """All of them; the engine has ended the session."""
        for target in self._targets.values():
            self._let_go(target)
        self._targets.clear()

    def _enter(self, target: Target, still: Callable[[], bool]) -> None:
        if not still():
            raise ValueError("the runner has another link by now")
        self._engine.target_set(self._session, target.index, target.netns)
        if "files" in self._warrant.rights:
            with target.service() as (pid, pidfd):
                writes = "files-write" in self._warrant.rights
                self._engine.target_files(self._session, target.index, pid, pidfd, writes=writes)

    def _has_ended(self, target: Target) -> None:
        if self._targets.get(target.index) is target:
            self.detach(target.index)
            self.gone.add(target.index)
            self._ended(target.index)

    def _let_go(self, target: Target) -> None:
        asyncio.get_running_loop().remove_reader(target.pidfd)
        self._warrant.left(target.container, target.pod)
        target.close()
