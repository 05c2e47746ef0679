"""`install`, `upgrade` and `uninstall`: the objects applied in their order, and waited for until sessions can begin.

Server-side apply throughout: installing twice changes nothing, and what people changed in the MirrorPolicy stays.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from runner.errors import Refusal
from runner.kube import admission, kinds
from runner.kube.agent_state import Over, of_pod
from runner.kube.api import Cluster
from runner.kube.errors import KubeError
from runner.kube.install_manifests import (
    AGENT,
    CONNECT,
    LABELS,
    OPTIONS_NOTE,
    PEOPLE,
    InstallOptions,
    manifests,
    options_of,
    selector_text,
)
from runner.kube.manifests import CONTAINER
from runner.kube.object_path import path_of

log = logging.getLogger(__name__)

Json: TypeAlias = dict[str, Any]
Say: TypeAlias = Callable[[str], None]

MANAGER = "mirror-run"
"""The field manager of what is applied (Kubernetes, "Server-Side Apply")."""

SETTLED = 10.0
"""Seconds after the policy's last change before agents believe that a session was judged by it."""

OLDEST = (1, 30)
"""Of Kubernetes: the first with ValidatingAdmissionPolicy in admissionregistration.k8s.io/v1."""

TAKES = 120.0
"""Seconds for each thing that is waited for, at most."""

LOOKS_EVERY = 0.5
"""Seconds between two looks at what tells nobody that it changed."""


async def install(cluster: Cluster, options: InstallOptions, say: Say) -> None:
    """Until the agents run and the admission policy judges. Refusal with what is in the way, KubeError."""
    _refuse_old(cluster.version)
    await _refuse_a_second(cluster, options.namespace)
    before = await _policy_version(cluster)
    for one in manifests(options):
        if one["kind"] == "Namespace" and not await _namespace_is_ours(cluster, options.namespace):
            say(f"namespace {options.namespace} was there before: it stays as it is")
            continue
        await _apply(cluster, one)
        if one["kind"] == "CustomResourceDefinition":
            await _established(cluster, one["metadata"]["name"])
    changed = await _policy_version(cluster) != before
    applied = time.monotonic()
    say("applied; waiting for the agents")
    count = await _rolled_out(cluster, options.namespace)
    await _judges(cluster, options.namespace)
    if changed and (rest := applied + SETTLED + 1 - time.monotonic()) > 0:
        say(f"waiting {rest:.0f} s until every API server knows the admission policy")
        await asyncio.sleep(rest)
    say(f"installed in {options.namespace}: {count} agent{'' if count == 1 else 's'}")
    say(
        f"give people rights in a namespace: kubectl create rolebinding NAME -n THERE --clusterrole "
        f"{' | '.join(PEOPLE)} --user WHO"
    )
    if not options.connect and not options.like_exec:
        say(
            f"and the way to the agents: "
            f"kubectl create rolebinding NAME -n {options.namespace} --role {CONNECT} --user WHO"
        )


async def upgrade(cluster: Cluster, given: dict[str, Any], say: Say) -> None:
    """The same once more, with the options it was installed with but for ``given``. Refusal: nothing is installed."""
    namespace = await installed_in(cluster)
    if namespace is None:
        raise Refusal("mirror-run is not installed in this cluster", "mirror-run install")
    if given.get("namespace") not in (None, namespace):
        raise Refusal(
            f"mirror-run is installed in namespace {namespace}: it does not move",
            "mirror-run uninstall, then install there",
        )
    before = await _options(cluster, namespace)
    await install(cluster, replace(before, **(given | {"namespace": namespace})), say)


async def uninstall(cluster: Cluster, namespace: str, say: Say, *, dry: bool = False) -> None:
    """Until nothing of it is left. Running sessions end first. ``dry``: only what would go is said."""
    namespace = namespace or await installed_in(cluster) or "mirror-run"
    sessions = await _all_sessions(cluster)
    keep_namespace = not await _namespace_is_ours(cluster, namespace)
    objects = manifests(InstallOptions(image="", namespace=namespace, connect=("",)))
    going = [one for one in reversed(objects) if one["kind"] != "Namespace" or not keep_namespace]
    if dry:
        await _say_what_goes(cluster, sessions, going, say)
        return
    if sessions:
        say(f"ends {len(sessions)} session{'' if len(sessions) == 1 else 's'}")
    for one in sessions:
        metadata = one["metadata"]
        await cluster.delete(kinds.sessions_path(metadata["namespace"], metadata["name"]))
    agents = [one for one in going if one["kind"] == "DaemonSet"]
    await _remove(cluster, agents)  # they end before their rights do
    await _remove(cluster, [one for one in going if one not in agents])
    say(
        f"uninstalled from {namespace}: nothing is left"
        + (f" but the namespace {namespace}" if keep_namespace else "")
    )


async def _say_what_goes(
    cluster: Cluster, sessions: Sequence[Json], objects: Sequence[Json], say: Say
) -> None:
    for one in sessions:
        say(f"would end the session {one['metadata']['namespace']}/{one['metadata']['name']}")
    there = [one for one in objects if not await _is_gone(cluster, path_of(one))]
    for one in there:
        inside = f" in {one['metadata']['namespace']}" if one["metadata"].get("namespace") else ""
        say(f"would delete {one['kind']} {one['metadata']['name']}{inside}")
    if not there:
        say("nothing is installed")


async def _remove(cluster: Cluster, objects: Sequence[Json]) -> None:
    """All asked to go, one after the other; then waited for."""
    for one in objects:
        await cluster.delete(path_of(one), propagationPolicy="Foreground")
    for one in objects:
        path = path_of(one)

        async def gone(path: str = path) -> bool:
            return await _is_gone(cluster, path)

        await _until(gone, f"{one['kind']} {one['metadata']['name']} to be gone")


async def installed_in(cluster: Cluster) -> str | None:
    """The agents' namespace, as the MirrorPolicy says; None if there is none."""
    try:
        policy = await cluster.get(kinds.policy_path())
    except KubeError as error:
        if error.missing:
            return None
        raise
    return str(policy["spec"]["agentNamespace"])


def _refuse_old(version: str) -> None:
    """``version``: "v1.35.4", "v1.29.1-gke.100"."""
    found = re.match(r"v?(\d+)\.(\d+)", version)
    if found and (int(found[1]), int(found[2])) < OLDEST:
        raise Refusal(
            f"the API server is {version}, and admission policies ask for Kubernetes {OLDEST[0]}.{OLDEST[1]}",
            "sessions make Jobs of their own where nothing is installed (mirror-run --agent job)",
        )


async def _refuse_a_second(cluster: Cluster, namespace: str) -> None:
    other = await installed_in(cluster)
    if other is not None and other != namespace:
        raise Refusal(
            f"mirror-run is installed in namespace {other} already, and agents are one a node",
            "mirror-run upgrade, or mirror-run uninstall first",
        )


async def _options(cluster: Cluster, namespace: str) -> InstallOptions:
    path = f"/apis/apps/v1/namespaces/{namespace}/daemonsets/{AGENT}"
    try:
        found = await cluster.get(path)
        return options_of(found["metadata"]["annotations"][OPTIONS_NOTE])
    except (KubeError, KeyError, ValueError) as error:
        if isinstance(error, KubeError) and not error.missing:
            raise
        raise Refusal(
            f"DaemonSet {namespace}/{AGENT} does not say how it was installed",
            "mirror-run install, with all options",
        ) from error


async def _namespace_is_ours(cluster: Cluster, name: str) -> bool:
    """It is not there yet, or we made it."""
    try:
        found = await cluster.get(f"/api/v1/namespaces/{name}")
    except KubeError as error:
        if error.missing:
            return True
        raise
    return LABELS.items() <= (found["metadata"].get("labels") or {}).items()


async def _apply(cluster: Cluster, one: Json) -> None:
    """A kind that was defined a moment ago may be unknown for as long."""
    path = path_of(one)
    deadline = time.monotonic() + TAKES
    while True:
        try:
            await cluster.patch(path, one, kind="apply", fieldManager=MANAGER, force="true")
            return
        except KubeError as error:
            if not error.missing or one["apiVersion"] != kinds.API or time.monotonic() > deadline:
                raise
        await asyncio.sleep(LOOKS_EVERY)


async def _established(cluster: Cluster, name: str) -> None:
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}"

    async def done() -> bool:
        status = (await cluster.get(path)).get("status") or {}
        return any(
            one["type"] == "Established" and one["status"] == "True" for one in status.get("conditions") or ()
        )

    await _until(done, f"the API server to serve {name}")


async def _rolled_out(cluster: Cluster, namespace: str) -> int:
    """How many agents run. Refusal as soon as one never will."""
    path = f"/apis/apps/v1/namespaces/{namespace}/daemonsets/{AGENT}"
    count = 0

    async def done() -> bool:
        nonlocal count
        found = await cluster.get(path)
        status = found.get("status") or {}
        count = status.get("desiredNumberScheduled", 0)
        if (
            status.get("observedGeneration") == found["metadata"]["generation"]
            and status.get("updatedNumberScheduled", 0) == count
            and status.get("numberAvailable", 0) == count
        ):
            return True
        await _refuse_what_never_runs(cluster, namespace)
        return False

    await _until(done, f"DaemonSet {namespace}/{AGENT} to run everywhere")
    return count


async def _refuse_what_never_runs(cluster: Cluster, namespace: str) -> None:
    pods, _ = await cluster.list(f"/api/v1/namespaces/{namespace}/pods", labelSelector=selector_text())
    for pod in pods:
        if "deletionTimestamp" in pod["metadata"]:
            continue
        match of_pod(pod, CONTAINER):
            case Over(what, next_step):
                node = pod["spec"].get("nodeName", "?")
                raise Refusal(f"the agent on node {node} does not run: {what}", next_step)


async def _judges(cluster: Cluster, namespace: str) -> None:
    """Until a session in somebody else's name is refused: a policy is in force a while after it was made."""
    wrong = {
        "apiVersion": kinds.API,
        "kind": "MirrorSession",
        "metadata": {"generateName": "judged-"},
        "spec": {
            "author": "nobody",
            "target": "nothing",
            "mode": "mirror",
            "rights": ["mirror"],
            "secretHash": "0" * 64,
        },
    }

    async def done() -> bool:
        try:
            await cluster.create(kinds.sessions_path(namespace), wrong, dryRun="All")
        except KubeError as error:
            log.debug("a session in another's name: %s", error.sentence)
            return error.forbidden and admission.NOT_THE_AUTHOR in error.sentence
        return False

    await _until(done, "the admission policy to be in force")


async def _policy_version(cluster: Cluster) -> tuple[str, ...]:
    """Both objects' identity and generation: the same means that nothing about them changed."""
    found = []
    for one in (admission.policy(), admission.binding()):
        try:
            metadata = (await cluster.get(path_of(one)))["metadata"]
        except KubeError as error:
            if not error.missing:
                raise
            continue
        found += [metadata["uid"], str(metadata.get("generation", metadata["resourceVersion"]))]
    return tuple(found)


async def _all_sessions(cluster: Cluster) -> list[Json]:
    try:
        return (await cluster.list(f"/apis/{kinds.API}/{kinds.SESSIONS}"))[0]
    except KubeError as error:
        if error.missing:
            return []
        raise


async def _is_gone(cluster: Cluster, path: str) -> bool:
    try:
        await cluster.get(path)
    except KubeError as error:
        if error.missing:
            return True
        raise
    return False


async def _until(done: Callable[[], Awaitable[bool]], what: str) -> None:
    """Asked again until it is so: what is waited for here are conditions over several objects. Refusal after TAKES. An
    API server that is restarted meanwhile is waited for too."""
    deadline = time.monotonic() + TAKES
    while not await _answered(done):
        if time.monotonic() > deadline:
            raise Refusal(
                f"waited {TAKES:.0f} s for {what}, in vain",
                "look at it with kubectl describe, then try again",
            )
        await asyncio.sleep(LOOKS_EVERY)


async def _answered(done: Callable[[], Awaitable[bool]]) -> bool:
    try:
        return await done()
    except KubeError as error:
        if not error.unreachable:
            raise
        log.info("asked again: %s", error)
        return False
