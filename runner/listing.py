"""``ls``, ``ps`` and ``stop``: what could be a target, and which sessions there are."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing, suppress

from runner import agents, contexts, targets
from runner.config import Caller, ClusterOptions
from runner.engine import Engine, EngineError, Json, connect
from runner.errors import Refusal
from runner.labels import AUTHOR, MODE, ROLE, SESSION, TARGET, WHERE
from runner.places import has_kubeconfig
from runner.refusals import translated
from runner.screen import Screen
from runner.together import together

STOPS_WITHIN = 10.0
"""Seconds after SIGTERM, as of `docker stop`."""


async def targets_table(caller: Caller, context: str, cluster: ClusterOptions, screen: Screen) -> int:
    """Every target once, its containers' state, image and ports; or those of the cluster, if one is meant."""
    if cluster.named:
        return await _of_cluster(caller, cluster, screen)
    with closing(await connect(contexts.choose(caller.environ, caller.home, context))) as engine:
        containers = await engine.containers(everything=True)
    by_name: dict[str, list[targets.Container]] = defaultdict(list)
    for container in targets.listed(containers):
        by_name[targets.names([container])[0]].append(container)
    rows = []
    for name, found in by_name.items():
        running = sum(container.state == "running" for container in found)
        state = found[0].state if len(found) == 1 else f"{running} of {len(found)} running"
        if found[0].network_mode == "host":
            state += ", host network"
        rows.append(
            (
                name,
                state,
                _short(found[0].image),
                " ".join(sorted({port for one in found for port in one.ports})),
            )
        )
    if not rows and has_kubeconfig(caller):
        screen.notice("no container of this engine can be a target; of the cluster:")
        return await _of_cluster(caller, cluster, screen)
    screen.table(("TARGET", "STATE", "IMAGE", "PORTS"), rows, named=True)
    if not rows:
        screen.notice("no container of this engine can be a target")
    return 0


def _short(image: str) -> str:
    """An id as docker shows it."""
    return image.removeprefix("sha256:")[:12] if image.startswith("sha256:") else image


async def _of_cluster(caller: Caller, options: ClusterOptions, screen: Screen) -> int:
    """What one namespace has, and who is at it now."""
    # Not above: what is about clusters alone is a tenth of a second to import.
    from runner.kube import listing
    from runner.kube.place import connected

    cluster = await connected(options, caller)
    try:
        found = await listing.targets_table(cluster, cluster.namespace)
    finally:
        await cluster.close()
    screen.notice(f"context {cluster.context}, namespace {cluster.namespace}")
    screen.table(listing.HEADER, [row.cells for row in found.rows], named=True)
    if not found.rows:
        screen.notice(f"nothing in namespace {cluster.namespace} can be a target")
    if found.unread:
        screen.notice(f"you may not list {', '.join(found.unread)} there: those are not shown")
    return 0


async def sessions_table(caller: Caller, context: str, cluster: ClusterOptions, screen: Screen) -> int:
    """Every session that has a container; and who drains, on a cluster too if one is meant."""
    with closing(await connect(contexts.choose(caller.environ, caller.home, context))) as engine:
        sessions, draining = await together(_sessions(engine), _draining(engine))
    now = time.time()
    rows = []
    for session, roles in sorted(sessions.items()):
        one = next(iter(roles.values()))
        labels = one["Labels"]
        app = roles.get("app")
        state = app["State"] if app else "without its app"
        mode = labels.get(MODE, "mirror")
        rows.append(
            (session, _target(labels), mode, labels.get(AUTHOR, ""), _age(now - one["Created"]), state)
        )
    screen.table(("SESSION", "TARGET", "MODE", "AUTHOR", "AGE", "STATE"), rows, named=True)
    for line in draining:
        screen.notice(line)
    if cluster.named:
        await _draining_of_cluster(caller, cluster, screen)
    return 0


async def _draining_of_cluster(caller: Caller, options: ClusterOptions, screen: Screen) -> None:
    from runner.kube import draining
    from runner.kube.place import connected

    cluster = await connected(options, caller)
    try:
        for line in await draining.drains(cluster, cluster.namespace):
            screen.notice(line)
    finally:
        await cluster.close()


DRAINS = "mirror-drains"
"""What a gate is called while it drains (agent/gate/gate.c); its one argument is whose it was."""


async def _draining(engine: Engine) -> list[str]:
    """A sentence for each target whose clients still go through an agent, though nobody steals from it any more."""
    said = []
    for agent in await engine.containers(f"{ROLE}=agent"):
        try:
            processes = await engine.processes(agent["Id"])
        except EngineError as error:  # it has ended meanwhile, or its engine's machine has no ps(1)
            if not await agents.ended(engine, agent["Id"]):
                said.append(f"whether an agent drains is not known: {error.sentence}")
            continue
        gates = [words.partition(" ")[2] for name, words in processes if name == DRAINS]
        said += [_drains(whose) for whose in gates]
    return said


def _drains(whose: str) -> str:
    """``whose``: a table's comment, "cart is stolen by anna since 14:02 (session k3f)"."""
    target, _, rest = whose.partition(" is ")
    return (
        f"{target}, {rest}, drains: connections that its clients began then still go through the agent, which ends "
        "when they have; new sessions are served meanwhile"
    )


def _target(labels: Json) -> str:
    """ "container/api"; "deploy/cart in shop of prod"."""
    where = f" in {labels[WHERE]}" if labels.get(WHERE) else ""
    return f"{labels.get(TARGET, '')}{where}"


async def stop(wanted: Sequence[str], caller: Caller, context: str, screen: Screen) -> int:
    """SIGTERM to each command, so that its own runner ends the session; then whatever is left is removed. Nothing is
    done if one of them is not there."""
    with closing(await connect(contexts.choose(caller.environ, caller.home, context))) as engine:
        sessions = await _sessions(engine)
        found = dict.fromkeys(_session(one, sessions) for one in wanted)
        await together(*(_stop(engine, one, sessions[one], screen) for one in found))
    return 0


def _session(session: str, sessions: Collection[str]) -> str:
    """The one that is called so, or begins so."""
    like = [name for name in sessions if name.startswith(session)]
    if len(like) != 1:
        there = ", ".join(sessions) or "none"
        what = (
            f"there is no session {session}"
            if not like
            else f"{session} is the beginning of {len(like)} sessions"
        )
        raise Refusal(what, f"the sessions: {there}")
    return like[0]


async def _stop(engine: Engine, session: str, roles: Mapping[str, Json], screen: Screen) -> None:
    try:
        if app := roles.get("app"):
            with suppress(EngineError):
                await engine.signal(app["Id"], "SIGTERM")
                async with asyncio.timeout(STOPS_WITHIN):
                    await engine.gone(app["Id"])
    except TimeoutError:
        screen.notice(f"the command did not end within {STOPS_WITHIN:g} s of SIGTERM, and is killed")
    try:
        for role in ("app", "bridge"):
            if role in roles:
                await engine.remove(roles[role]["Id"])
    except EngineError as error:
        raise translated(error.sentence) from error
    screen.notice(f"session {session} is over")


async def _sessions(engine: Engine) -> dict[str, dict[str, Json]]:
    """By session, its containers' summaries by role."""
    found: dict[str, dict[str, Json]] = defaultdict(dict)
    for summary in await engine.containers(SESSION, everything=True):
        found[summary["Labels"][SESSION]][summary["Labels"].get(ROLE, "")] = summary
    return dict(found)


def _age(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{int(seconds // length)}{unit}"
    return f"{max(0, int(seconds))}s"
