"""A session as a run would begin it, without an app: whether agents come, answer, and how quickly."""

from __future__ import annotations

import asyncio
import secrets
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

from links.link import CallFailed, LinkEnded
from runner.config import Caller, ClusterOptions, RunOptions
from runner.engine import Engine
from runner.errors import Refusal
from runner.finding import Finding, of_refusal
from runner.kube.agent_side import AgentSide
from runner.kube.api import Cluster
from runner.kube.candidates import everything
from runner.kube.choosing import chosen_agents
from runner.kube.founding import Founding
from runner.kube.names import SERVICE, Wanted
from runner.kube.pod import KNOWN_MESHES
from runner.kube.rights import Wish
from runner.kube.wishes import wishes
from runner.kube.workloads import KubeTarget, resolve
from runner.place import Proof
from runner.screen import Screen
from runner.together import together
from wire import messages as m

TRIPS = 50
LOOKS_FOR = (*wishes(RunOptions("")), Wish("steal"))
"""Rights: what a run uses that asks for nothing, and stealing, to see whether it could."""
OCTETS, AT_ONCE, ROUNDS = bytes(65_536), 64, 6
"""What is sent to measure the rate: 4 MiB on the way at any time, 24 in all. Enough for 50 ms at half a Gbit/s."""

READY_WITHIN = 2.0
"""Seconds for each candidate: a probe does not wait for pods to come."""


async def probed(
    cluster: Cluster,
    options: ClusterOptions,
    caller: Caller,
    engine: Engine,
    screen: Screen,
    namespace: str,
) -> AsyncIterator[Finding]:
    """Beside any ready pod of the namespace; everything that is made is gone at the end."""
    target = await _any_target(cluster, namespace)
    if target is None:
        yield Finding(
            True, f"probe: no pod is ready in {namespace} that could be a target", "name another with -n"
        )
        return
    at_hand: asyncio.Future[Engine] = asyncio.get_running_loop().create_future()
    at_hand.set_result(engine)
    proof = Proof(secrets.token_hex(4), secrets.token_bytes(32), caller.name)
    async with AsyncExitStack() as undo:
        try:
            agents = await chosen_agents(cluster, options, caller, target, proof, screen, at_hand, LOOKS_FOR)
            undo.push_async_callback(agents.close)
            await agents.prepare()
            began = time.monotonic()
            where = (await agents.agent_for(target.pods[:1]))[target.pods[0].uid]
            came = time.monotonic()
            founding = Founding(cluster, proof.author)
            side = AgentSide(0, where, agents, founding, lambda _: None, screen.warn)
            await side.open()
            undo.push_async_callback(side.close)
            yield Finding(
                True,
                f"probe: the agent on node {where.node} ran after {came - began:.1f} s "
                f"and answered {time.monotonic() - came:.2f} s later",
            )
            await side.attach(0, target.pods[0])
            yield Finding(
                True, f"probe: {target.name} can be joined; {await _trips(side)}, {await _rate(side)}"
            )
            yield await _stealing(side, target)
        except Refusal as refusal:
            yield of_refusal("probe", refusal)
        except (CallFailed, LinkEnded) as error:
            yield Finding(False, f"probe: {target.name}: {error.reason}")


async def _stealing(side: AgentSide, target: KubeTarget) -> Finding:
    """By an agent that tries it: what it makes in the target's network steals nothing, and is gone again. That others
    steal there now is no fault, nor is a session that may not."""
    pod = target.pods[0]
    try:
        looked = await side.call(m.LookAtStealing(0, 0))
    except CallFailed as failed:
        return Finding(True, f"probe: {failed.reason}")
    assert isinstance(looked, m.StealingLooked)
    if looked.refused:
        return Finding(
            False,
            f"probe: nothing can be stolen from {pod.name} on node {pod.node}: {looked.refused}",
            "its kernel needs nf_tables with NAT, 5.12 or newer",
        )
    if looked.taken:
        return Finding(True, f"probe: {looked.taken}", "several at once need `mirror-run install`")
    beside = f"; {meshed(pod.mesh)}" if pod.mesh else ""
    return Finding(True, f"probe: {pod.name} can be stolen from{beside}")


def meshed(sidecar: str) -> str:
    """What a mesh's sidecar means for who steals."""
    if sidecar in KNOWN_MESHES:
        return f"what {sidecar} brings to it is stolen behind that, where it is no longer encrypted"
    return (
        f"{sidecar} stands before it, whose user is not known to gates: what that brings by the loopback interface "
        "stays with the target unless --mesh-uid names it"
    )


async def _trips(side: AgentSide) -> str:
    took = []
    for _ in range(TRIPS):
        began = time.monotonic()
        await side.call(m.Ping(0))
        took.append((time.monotonic() - began) * 1e3)
    return f"a round trip through the tunnel takes {statistics.median(took):.1f} ms"


async def _rate(side: AgentSide) -> str:
    """Both ways at once: what the agent is sent it sends back."""

    async def one_after_the_other() -> None:
        for _ in range(ROUNDS):
            await side.call(m.Ping(0, OCTETS))

    began = time.monotonic()
    await together(*(one_after_the_other() for _ in range(AT_ONCE)))
    total = len(OCTETS) * AT_ONCE * ROUNDS
    return (
        f"and {total / 1e6:.0f} MB went there and back at {total / 1e6 / (time.monotonic() - began):.0f} MB/s"
    )


async def _any_target(cluster: Cluster, namespace: str) -> KubeTarget | None:
    for thing in await everything(cluster, namespace):
        if thing.kind is SERVICE:
            continue
        wanted = Wanted(thing.kind.word, str(thing.body["metadata"]["name"]), namespace=namespace)
        try:
            return await resolve(cluster, wanted, lambda _: None, READY_WITHIN)
        except Refusal:
            continue
    return None
