"""``doctor``: everything a session needs, looked at one by one; a sentence for each, and what to do where
something is missing."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator

from runner import VERSION, contexts, images, plan
from runner.config import Caller, ClusterOptions
from runner.engine import Engine, EngineError, Json, connect
from runner.errors import FAILED, Refusal
from runner.finding import Finding, kernels, show, show_all
from runner.labels import RELEASE, ROLE
from runner.places import has_kubeconfig
from runner.refusals import translated
from runner.screen import Screen

OLDEST_API = (1, 41)
"""Engine 20.10: the first whose containers all can do what the bridge needs."""

TRIAL_LASTS = 60.0
"""Seconds; a container that is only tried ends at once."""


async def examine(
    caller: Caller, context: str, cluster: ClusterOptions, screen: Screen, *, probe: bool
) -> int:
    """Look at everything that can be looked at; 0 if all is well. ``probe``: make agents too."""
    found = []
    async for finding in _everything(caller, context, cluster, screen, probe=probe):
        found.append(finding)
        if not screen.json:
            show(screen, finding)
    if screen.json:
        show_all(screen, found)
    return 0 if all(finding.well for finding in found) else FAILED


async def _everything(
    caller: Caller, context: str, cluster: ClusterOptions, screen: Screen, *, probe: bool
) -> AsyncIterator[Finding]:
    engine = None
    try:
        engine = await connect(contexts.choose(caller.environ, caller.home, context))
        async for finding in _engines(engine):
            yield finding
    except Refusal as refusal:
        yield Finding(False, refusal.what, refusal.next_step)
    if cluster.named or has_kubeconfig(caller):
        async for finding in _clusters(caller, cluster, engine, screen, probe=probe):
            yield finding
    if engine:
        engine.close()


async def _engines(engine: Engine) -> AsyncIterator[Finding]:
    version, info = await engine.version(), await engine.info()
    yield _engine(version, engine.endpoint)
    yield _images_there(await images.present(engine))
    yield _pools(info)
    yield kernels({"the engine's machine": str(info.get("KernelVersion") or "")})
    for finding in await _trial(engine, plan.traits(info, same_host=engine.endpoint.same_host)):
        yield finding


async def _clusters(
    caller: Caller, said: ClusterOptions, engine: Engine | None, screen: Screen, *, probe: bool
) -> AsyncIterator[Finding]:
    """A cluster that nobody named may be out of reach: then that is worth to know, and no fault."""
    from runner.kube import examination
    from runner.kube.errors import KubeError
    from runner.kube.place import connected

    try:
        cluster = await connected(said, caller)
    except Refusal as refusal:
        yield Finding(not said.named, f"cluster: {refusal.what}", refusal.next_step)
        return
    try:
        async for finding in examination.examine(cluster, said, caller, engine, screen, probe=probe):
            yield finding
    except KubeError as error:
        yield Finding(False, f"cluster: {error.sentence}", error.next_step)
    finally:
        await cluster.close()


def _engine(version: Json, endpoint: contexts.Endpoint) -> Finding:
    found = tuple(int(part) for part in version["ApiVersion"].split("."))
    sentence = (
        f"engine {version['Version']} (API {version['ApiVersion']}) at {endpoint.url}, by {endpoint.said_by}"
    )
    if found < OLDEST_API:
        return Finding(False, f"{sentence} is too old", "API 1.41 is needed: Docker Engine 20.10 or newer")
    return Finding(True, sentence)


def _images_there(found: images.Images | None) -> Finding:
    if found is None:
        return Finding(True, "images: not built yet", "the first run builds them, which takes some minutes")
    return Finding(True, f"images: {found.bridge}, {found.agent}")


def _pools(info: Json) -> Finding:
    pools = ", ".join(f"{pool['Base']} by /{pool['Size']}" for pool in info.get("DefaultAddressPools") or [])
    return Finding(
        True, f"address pools: {pools or 'the engine’s own'} (a session takes no network of its own)"
    )


async def _trial(engine: Engine, traits: plan.EngineTraits) -> list[Finding]:
    """The rights, by asking for them: a container as the bridge's and one as the agent's, of whatever image
    there is."""
    image = await _any_image(engine)
    if image is None:
        return [
            Finding(
                True, "tun and capabilities: not looked at, for want of an image", "the first run builds one"
            )
        ]
    for one in await engine.containers(f"{ROLE}=trial", everything=True):
        if time.time() - one["Created"] > TRIAL_LASTS:  # of a doctor that was killed
            await engine.remove(one["Id"])
    found = []
    with_files = plan.BRIDGE_CAPABILITIES + plan.BRIDGE_FILES_CAPABILITIES
    for what, capabilities, devices in (
        ("the bridge", plan.BRIDGE_CAPABILITIES, [plan.TUN]),
        (
            "the bridge with files",
            with_files,
            [plan.TUN, plan.FUSE],
        ),  # without, a run has no files of the target
        ("the agent", plan.AGENT_CAPABILITIES + plan.AGENT_FILES_CAPABILITIES, []),
    ):
        found.append(await _may(engine, image, what, capabilities, traits, devices))
    return found


async def _any_image(engine: Engine) -> str | None:
    there = await engine.images()
    return str(there[0]["Id"]) if there else None


async def _may(
    engine: Engine,
    image: str,
    what: str,
    capabilities: list[str],
    traits: plan.EngineTraits,
    devices: list[Json],
) -> Finding:
    host: Json = {
        "NetworkMode": "none",
        "CapDrop": ["ALL"],
        "CapAdd": capabilities,
        "SecurityOpt": traits.security,
        "Devices": devices,
        "Sysctls": plan.sysctls(traits) if devices else {},
        "PidMode": "" if devices else "host",
    }
    labels = {ROLE: "trial", RELEASE: VERSION}
    body = {"Image": image, "Entrypoint": ["/proc/self/exe"], "Labels": labels, "HostConfig": host}
    name = f"mirror-run-doctor-{what.replace(' ', '-')}-{secrets.token_hex(3)}"  # others may look at the same time
    besides = [device["PathOnHost"] for device in devices] or ["the machine's pids"]
    sentence = f"rights of {what}: {', '.join([*capabilities, *besides])}"
    try:
        made = await engine.create(name, body)
        await engine.start(made)
    except EngineError as error:
        refusal = translated(error.sentence)
        return Finding(False, f"{sentence}: {refusal.what}", refusal.next_step)
    finally:
        await engine.remove(name)
    return Finding(True, sentence)
