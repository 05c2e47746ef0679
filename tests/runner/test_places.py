"""Whose a target is: the engine's, the cluster's, or whoever alone has a bare name."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast

import pytest

from runner import docker_place, places
from runner.config import Caller, ClusterOptions, RunOptions
from runner.errors import Refusal
from runner.kube import place as kube_place
from runner.place import Place, Proof
from runner.screen import Screen
from tests.runner.kube.memory import Memory, path, workload

RUNNING = {"Id": "1" * 64, "Names": ["/cart"], "State": "running", "Image": "i"}
STOPPED = {"Id": "2" * 64, "Names": ["/old"], "State": "exited", "Image": "i"}


class Asked(Memory):
    """A cluster that can be let go of."""

    async def close(self) -> None:
        self.asked.append("closed")


class Found:
    """A place that says where it was found."""

    def __init__(self, where: str) -> None:
        self.where = where

    async def close(self) -> None:
        """Nothing was opened."""


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Memory:
    """What connecting gives; ``asked`` shows whether anybody did."""
    made = Asked()

    async def connected(*_: Any, **__: Any) -> Memory:
        made.asked.append("connected")
        return made

    async def look(found: Memory, options: RunOptions, *_: Any) -> str:
        name = options.target.rpartition("/")[2]
        if not any(one.endswith(f"/{name}") for one in found.objects):
            raise Refusal(f"there is no {options.target} in namespace shop")
        return "looked"

    async def of_engine(*_: Any) -> Found:
        return Found("engine")

    async def of_cluster(*_: Any) -> Found:
        return Found("cluster")

    monkeypatch.setattr(kube_place, "connected", connected)
    monkeypatch.setattr(kube_place, "look", look)
    monkeypatch.setattr(docker_place, "find", of_engine)
    monkeypatch.setattr(places.Seeker, "_of_cluster", of_cluster)
    return made


async def found(tmp_path: Path, text: str, *, kubeconfig: bool = True, **said: Any) -> str:
    """Where the target was found among RUNNING, STOPPED and the cluster."""
    config = tmp_path / "config"
    if kubeconfig:
        config.touch()
    caller = Caller(1, 1, "ann", tmp_path, tmp_path, "Linux", {"KUBECONFIG": str(config)})
    options = RunOptions(text, cluster=ClusterOptions(**said))
    listed = asyncio.get_running_loop().create_future()
    listed.set_result([RUNNING, STOPPED])
    async with AsyncExitStack() as undo:
        seeker = places.Seeker(options, caller, Screen(quiet=True), Proof("s", b"x", "ann"), undo)
        seeker.begin()
        seeker.engine.set_result(cast("Any", None))
        place: Place = await seeker.find(listed)
    return cast("Any", place).where


def deploy(cluster: Memory, name: str) -> None:
    cluster.put(path("deploy", name), workload(name))


async def test_full_names_are_whose_they_are(tmp_path: Path, cluster: Memory) -> None:
    assert await found(tmp_path, "container/cart") == "engine"
    assert not cluster.asked
    deploy(cluster, "cart")
    assert await found(tmp_path, "deploy/cart") == "cluster"


@pytest.mark.parametrize("said", [{"namespace": "shop"}, {"context": "prod"}, {"selector": "app=x"}])
async def test_what_only_a_cluster_has_means_the_cluster(
    tmp_path: Path, cluster: Memory, said: dict[str, Any]
) -> None:
    deploy(cluster, "cart")
    assert await found(tmp_path, "cart", **said) == "cluster"


async def test_a_container_in_a_namespace_is_refused(tmp_path: Path, cluster: Memory) -> None:
    with pytest.raises(Refusal, match="of the engine on this machine"):
        await found(tmp_path, "container/cart", namespace="shop")
    assert not cluster.asked


async def test_an_unknown_kind_is_refused_before_anybody_is_asked(tmp_path: Path, cluster: Memory) -> None:
    with pytest.raises(Refusal) as refusal:
        await found(tmp_path, "deplyo/cart")
    assert "did you mean deploy/cart?" in refusal.value.next_step
    assert "container/NAME and compose/SERVICE" in refusal.value.next_step
    assert not cluster.asked


async def test_a_bare_name_of_the_engine_alone(tmp_path: Path, cluster: Memory) -> None:
    assert await found(tmp_path, "cart") == "engine"
    assert cluster.asked


async def test_a_bare_name_without_a_kubeconfig(tmp_path: Path, cluster: Memory) -> None:
    assert await found(tmp_path, "cart", kubeconfig=False) == "engine"
    assert not cluster.asked


async def test_a_bare_name_of_both_is_ambiguous(tmp_path: Path, cluster: Memory) -> None:
    deploy(cluster, "cart")
    with pytest.raises(Refusal) as refusal:
        await found(tmp_path, "cart")
    assert "deploy/cart in namespace shop" in refusal.value.what
    assert refusal.value.next_step == "name container/cart, or deploy/cart"


async def test_a_bare_name_of_the_cluster_alone(tmp_path: Path, cluster: Memory) -> None:
    deploy(cluster, "front")
    assert await found(tmp_path, "front") == "cluster"


async def test_a_bare_name_of_nobody_names_both(tmp_path: Path, cluster: Memory) -> None:
    with pytest.raises(Refusal) as refusal:
        await found(tmp_path, "nobody")
    assert refusal.value.what == "there is no nobody; there is no nobody in namespace shop"


async def test_a_container_that_is_stopped_is_the_engines_all_the_same(
    tmp_path: Path, cluster: Memory
) -> None:
    with pytest.raises(Refusal, match="not running"):
        await found(tmp_path, "old")
    assert not cluster.asked


async def test_a_cluster_that_does_not_answer_leaves_the_name_to_the_engine(
    tmp_path: Path, cluster: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(*_: Any, **__: Any) -> Memory:
        await asyncio.get_running_loop().create_future()
        raise AssertionError("nobody sets it")

    monkeypatch.setattr(kube_place, "connected", silent)
    monkeypatch.setattr(places, "ANSWERS_WITHIN", 0.01)
    assert await found(tmp_path, "cart") == "engine"
