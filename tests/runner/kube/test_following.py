"""Pods listed and watched become steps, whatever happens to the watch meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from runner.kube import pods
from runner.kube.followed_core import AttachTo, Followed, Leave, Prepare, Primary, Say, Step
from runner.kube.following import following
from runner.kube.names import understood
from runner.kube.workloads import resolve
from tests.runner.kube.memory import Memory, path, pod, workload


class Watched:
    """A deployment that is followed: every step is kept until somebody looks for it."""

    def __init__(self, cluster: Memory) -> None:
        self.cluster = cluster
        self.steps: asyncio.Queue[Step] = asyncio.Queue()
        self.core = Followed("deploy/cart")

    async def follow(self) -> None:
        target = await resolve(self.cluster, understood("deploy/cart"), lambda text: None)  # type: ignore[arg-type]
        for step in self.core.first(target.pods):
            self.steps.put_nowait(step)
        async with aclosing(following(self.cluster, target, self.core)) as told:  # type: ignore[arg-type]
            async for steps in told:
                for step in steps:
                    self.steps.put_nowait(step)

    async def next(self) -> Any:
        """The next step that is not only a word to the user."""
        while isinstance(step := await self.steps.get(), Say):
            pass
        return step

    def put(self, name: str, **more: Any) -> None:
        self.cluster.put(path("pod", name), pod(name, **more))

    async def watching(self) -> None:
        await self.cluster.until(lambda: self.cluster.watches > 0)


@pytest.fixture
async def watched(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watched]:
    monkeypatch.setattr(pods, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(pods, "LONGEST_PAUSE", 0.01)
    cluster = Memory()
    cluster.put(path("deploy", "cart"), workload("cart"))
    made = Watched(cluster)
    made.put("a")
    task = asyncio.create_task(made.follow())
    assert isinstance(await made.next(), Prepare)
    assert isinstance(await made.next(), AttachTo)
    await made.watching()
    yield made
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cluster.watches == 0, "the watch was left open"


async def test_comes_becomes_ready_and_goes(watched: Watched) -> None:
    watched.put("b", ready=False)
    assert (await watched.next()).pods[0].name == "b"
    watched.put("b")
    assert await watched.next() == AttachTo(1, watched.core.pods[1], again=False)
    watched.cluster.remove(path("pod", "a"))
    left, primary = await watched.next(), await watched.next()
    assert (left.index, primary.index) == (0, 1)
    assert isinstance(left, Leave)
    assert isinstance(primary, Primary)


@pytest.mark.parametrize("status", [410, 0, 500])
async def test_what_a_broken_watch_missed_is_made_good(watched: Watched, status: int) -> None:
    watched.cluster.remove(path("pod", "a"), unseen=True)
    watched.cluster.objects[path("pod", "b")] = pod("b") | {
        "metadata": pod("b")["metadata"] | {"resourceVersion": "5"}
    }
    watched.cluster.break_watches(status)
    kinds = [type(await watched.next()) for _ in range(4)]
    assert kinds == [Prepare, AttachTo, Leave, Primary]
    await watched.watching()
    watched.put("c")
    assert (await watched.next()).pods[0].name == "c"


async def test_a_server_that_is_down_for_a_while(watched: Watched) -> None:
    watched.cluster.down = True
    watched.cluster.break_watches()
    asked = len(watched.cluster.asked)
    await watched.cluster.until(lambda: len(watched.cluster.asked) >= asked + 3)
    watched.put("b")
    assert [one.name for one in watched.core.pods] == ["a"], "what was known holds"
    watched.cluster.down = False
    assert (await watched.next()).pods[0].name == "b"


async def test_a_server_that_is_down_from_the_start(watched: Watched) -> None:
    """Between the target's resolving and its following, that is."""
    target = await resolve(watched.cluster, understood("deploy/cart"), lambda text: None)  # type: ignore[arg-type]
    watched.cluster.down = True
    again = Followed("deploy/cart")
    async with aclosing(following(watched.cluster, target, again)) as told:  # type: ignore[arg-type]
        first = asyncio.ensure_future(anext(told))
        asked = len(watched.cluster.asked)
        await watched.cluster.until(lambda: len(watched.cluster.asked) >= asked + 3)
        watched.cluster.down = False
        assert [type(step) for step in await first] == [Prepare, AttachTo]


async def test_a_pod_on_a_node_that_none_can_be_followed_on(watched: Watched) -> None:
    watched.cluster.put(
        "/api/v1/nodes/cloud",
        {"metadata": {"name": "cloud", "labels": {"type": "virtual-kubelet"}}, "spec": {}},
    )
    watched.put("far", node="cloud")
    while not (isinstance(step := await watched.steps.get(), Say) and "far" in step.text):
        pass
    assert "virtual" in step.text
    assert [one.name for one in watched.core.pods] == ["a"]
