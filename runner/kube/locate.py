"""From what was asked for to the pods it means: one workload, looked up, and the selector of its pods.

Whether any of these pods is ready, and fit, is for others to find out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from runner.errors import Refusal
from runner.kube import candidates, names
from runner.kube.api import Cluster
from runner.kube.errors import KubeError
from runner.kube.members import Members, controller, selector_text
from runner.kube.names import Kind, Wanted
from wire.record import record

Json = dict[str, Any]
Say = Callable[[str], None]

_BY_WORD = {kind.word: kind for kind in names.KINDS}


@record
class Located:
    """``name`` is the target's for people; ``remark`` is what may explain that it has no pods."""

    name: str
    members: Members
    remark: str = ""


async def locate(cluster: Cluster, namespace: str, wanted: Wanted, say: Say) -> Located:
    """Refusal if there is no such thing, or it can have no pods."""
    if wanted.kind == names.SELECTOR:
        found = Located(wanted.text, Members(namespace, names.SELECTOR, "", wanted.selector))
    elif not wanted.kind:
        found = await _bare(cluster, namespace, wanted.name, say)
    else:
        kind = _BY_WORD[wanted.kind]
        found = await _of(
            cluster, namespace, candidates.Thing(kind, await _get(cluster, namespace, kind, wanted.name))
        )
    if wanted.pod and wanted.pod != found.members.pod:
        return Located(found.name, replace(found.members, pod=wanted.pod), found.remark)
    return found


async def _get(cluster: Cluster, namespace: str, kind: Kind, name: str) -> Json:
    try:
        return await cluster.get(kind.path(namespace, name))
    except KubeError as error:
        if not error.missing:
            raise
    if kind is names.ROLLOUT:
        try:
            await cluster.list(kind.path(namespace))
        except KubeError as error:
            if error.missing:
                raise Refusal(
                    "this cluster has no rollouts: Argo Rollouts (rollouts.argoproj.io) is not installed",
                    "name a deploy/NAME or another target; `mirror-run ls -n NS` shows them",
                ) from error
    raise await candidates.missing(cluster, namespace, kind, name)


async def _bare(cluster: Cluster, namespace: str, name: str, say: Say) -> Located:
    things = await candidates.named(cluster, namespace, name)
    if not things:
        raise await candidates.missing(cluster, namespace, None, name)
    if len(things) > 1:
        raise Refusal(
            f"{name} is ambiguous in namespace {namespace}",
            f"name {' or '.join(thing.name for thing in things)}",
        )
    say(f"{name} is {things[0].name}")
    return await _of(cluster, namespace, things[0])


async def _of(cluster: Cluster, namespace: str, thing: candidates.Thing) -> Located:
    kind, body = thing.kind, thing.body
    name, spec = body["metadata"]["name"], body.get("spec") or {}
    members = Members(namespace, kind.word, name)
    match kind:
        case names.POD:
            members = replace(members, pod=name)
            remark = ""
        case names.SERVICE:
            members = replace(members, selector=_of_service(thing.name, spec))
            remark = ""
        case names.CRONJOB:
            members, remark = await _of_cron_job(cluster, members, body)
        case _:
            members = replace(members, selector=_of_controller(thing.name, body))
            remark = _emptiness(kind, body)
    return Located(thing.name, members, remark)


def _of_controller(text: str, body: Json) -> str:
    spec = body.get("spec") or {}
    status = (body.get("status") or {}).get("selector")
    # A rollout that refers to a deployment has its selector in its status alone, already as text.
    found = selector_text(spec.get("selector")) or (status if isinstance(status, str) else "")
    if not found:
        raise Refusal(f"{text} has no selector, so its pods cannot be told", "name a pod/NAME, or -l LABELS")
    return found


def _of_service(text: str, spec: Json) -> str:
    if spec.get("type") == "ExternalName":
        raise Refusal(
            f"{text} is only a name for {spec.get('externalName')} (ExternalName): there are no pods behind it",
            "choose the workload itself",
        )
    if not spec.get("selector"):
        raise Refusal(
            f"{text} has no selector: its endpoints are written by somebody, and need not be pods",
            "name the workload, or a pod/NAME",
        )
    return selector_text({"matchLabels": spec["selector"]})


async def _of_cron_job(cluster: Cluster, members: Members, body: Json) -> tuple[Members, str]:
    jobs, _ = await cluster.list(names.JOB.path(members.namespace))
    mine = [job for job in jobs if controller(job).get("uid") == body["metadata"]["uid"]]
    newest = max(mine, key=lambda job: str(job["metadata"]["creationTimestamp"]), default=None)
    spec = body.get("spec") or {}
    remark = ""
    if newest is None:
        remark = f"it has made no job yet (schedule {spec.get('schedule')!r})"
    elif _emptiness(names.JOB, newest):
        remark = (
            f"its newest job, {newest['metadata']['name']}, has ended (schedule {spec.get('schedule')!r})"
        )
    if spec.get("suspend") and remark:
        remark += ", and is suspended"
    since = newest["metadata"]["name"] if newest else ""
    return Members(members.namespace, members.kind, members.name, "job-name", since=since), remark


def _emptiness(kind: Kind, body: Json) -> str:
    """Why it has perhaps no pods: nobody wants any, or it is done."""
    spec, status = body.get("spec") or {}, body.get("status") or {}
    if spec.get("replicas") == 0:
        return "it is scaled to 0"
    if kind is names.DAEMONSET and status.get("desiredNumberScheduled") == 0:
        return "no node is chosen by it"
    if kind is names.JOB:
        for one in status.get("conditions") or ():
            if one.get("type") in ("Complete", "Failed") and one.get("status") == "True":
                return (
                    "it has run to its end"
                    if one["type"] == "Complete"
                    else f"it failed: {one.get('message', '')}"
                )
        if spec.get("suspend"):
            return "it is suspended"
    return ""
