"""Work in chains: what concerns one pod happens in order, what concerns different pods side by side, so that a node
whose agent is slow to come does not hold up another's. What fails is said, and the next of its chain begins.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from links.link import CallFailed, LinkEnded
from runner.errors import Refusal
from runner.kube.errors import KubeError
from runner.kube.pod import Pod


class Chains:
    """One for each pod that something is done for; ``say`` tells the user why something was not."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._last: dict[str, asyncio.Task[None]] = {}  # by the pod's uid

    def after(self, pod: Pod, work: Coroutine[Any, Any, None]) -> None:
        """``work``, once what was begun for this pod is done."""
        former = self._last.get(pod.uid)
        name = f"following {pod.name}"
        self._last[pod.uid] = asyncio.create_task(self._next(pod, former, work), name=name)

    def instead(self, pod: Pod, work: Coroutine[Any, Any, None]) -> None:
        """``work`` at once: what was begun for this pod is given up."""
        if former := self._last.pop(pod.uid, None):
            former.cancel()
        self.after(pod, work)

    async def close(self) -> None:
        """All of it is given up."""
        tasks = list(self._last.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _next(
        self, pod: Pod, former: asyncio.Task[None] | None, work: Coroutine[Any, Any, None]
    ) -> None:
        try:
            if former is not None:
                await asyncio.wait([former])
            await work
        except (CallFailed, LinkEnded) as error:
            self._say(f"following {pod.name}: {error.reason}")
        except KubeError as error:
            self._say(f"following {pod.name}: {error.sentence}")
        except Refusal as refusal:
            self._say(f"{pod.name} does not take part: {refusal.what}")
        finally:
            work.close()
            if self._last.get(pod.uid) is asyncio.current_task():
                del self._last[pod.uid]
