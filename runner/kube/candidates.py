"""What a name could mean in a namespace, and what was perhaps meant when it means nothing.

Everything is asked at once; what the caller may not read, or the cluster has not, is left out.
"""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Awaitable
from typing import Any

from runner.errors import Refusal, there_is
from runner.kube import names
from runner.kube.api import Cluster
from runner.kube.errors import KubeError
from runner.kube.members import controller
from runner.kube.names import Kind
from runner.kube.pod import is_ours
from wire.record import record

Json = dict[str, Any]

SHOWN = 6
"""So many candidates are named; more are counted."""


@record
class Thing:
    """Something that can be a target."""

    kind: Kind
    body: Json

    @property
    def name(self) -> str:
        return f"{self.kind.word}/{self.body['metadata']['name']}"


async def named(cluster: Cluster, namespace: str, name: str) -> list[Thing]:
    """Every thing of that name, one for those that are the same pods: what owns another stands for it, and a service
    for nothing if there is a workload whose pods it selects. The most particular first."""
    answers = await asyncio.gather(
        *(_maybe(cluster.get(kind.path(namespace, name))) for kind in names.KINDS),
    )
    things = [Thing(kind, body) for kind, body in zip(names.KINDS, answers, strict=True) if body is not None]
    uids = {thing.body["metadata"]["uid"] for thing in things}
    things = [one for one in things if controller(one.body).get("uid") not in uids]
    workloads = [one for one in things if one.kind is not names.SERVICE]
    referred = {_workload_ref(one.body) for one in workloads}
    workloads = [
        one for one in workloads if (one.kind.singular, one.body["metadata"]["name"]) not in referred
    ]
    services = [one for one in things if one.kind is names.SERVICE]
    return [*workloads, *(one for one in services if not any(_is_before(one, other) for other in workloads))]


async def missing(cluster: Cluster, namespace: str, kind: Kind | None, name: str) -> Refusal:
    """There is no such thing: what is like it there, and where else there is one of that name."""
    text = f"{kind.word}/{name}" if kind else name
    there, elsewhere, known = await asyncio.gather(
        everything(cluster, namespace),
        _elsewhere(cluster, kind, name),
        _maybe(cluster.get(f"/api/v1/namespaces/{namespace}"), forbidden={}),
    )
    if known is None:
        return Refusal(
            f"there is no namespace {namespace} in context {cluster.context}",
            _found_in(elsewhere, text) or "name one with -n; `kubectl get namespaces` shows them",
        )
    choices = [thing.name for thing in there]
    like = _alike(name, choices)
    hints = [f"did you mean {' or '.join(like)}?"] if like else []
    if found := _found_in([one for one in elsewhere if one != namespace], text):
        hints.append(found)
    if not hints:
        nothing = f"there is nothing in {namespace} that can be a target"
        hints.append(there_is(choices, SHOWN) if choices else nothing)
        hints.append("-n names another namespace")
    return Refusal(f"there is no {text} in namespace {namespace}", "; ".join(hints).replace("?; ", "? "))


async def everything(cluster: Cluster, namespace: str) -> list[Thing]:
    """All that a user would name: workloads that nothing else controls, then services."""
    lists = await asyncio.gather(*(_maybe(cluster.list(kind.path(namespace))) for kind in names.KINDS))
    found = [
        Thing(kind, body)
        for kind, answer in zip(names.KINDS, lists, strict=True)
        for body in (answer[0] if answer else ())
        if not controller(body) and not (kind in (names.POD, names.JOB) and is_ours(body))
    ]
    order = [*names.KINDS[1:-1], names.POD, names.SERVICE]
    return sorted(found, key=lambda thing: (order.index(thing.kind), thing.name))


async def _maybe(answer: Awaitable[Any], forbidden: Any = None) -> Any:
    """None for what is not there; ``forbidden`` for what may not be read. Other errors are raised."""
    try:
        return await answer
    except KubeError as error:
        if error.missing:
            return None
        if error.forbidden:
            return forbidden
        raise


async def _elsewhere(cluster: Cluster, kind: Kind | None, name: str) -> list[str]:
    """Namespaces that have it, as far as the caller may list them all."""
    kinds = (
        (kind,) if kind else (names.DEPLOYMENT, names.STATEFULSET, names.DAEMONSET, names.CRONJOB, names.POD)
    )
    lists = await asyncio.gather(
        *(_maybe(cluster.list(one.path(), fieldSelector=f"metadata.name={name}")) for one in kinds)
    )
    return sorted({body["metadata"]["namespace"] for answer in lists if answer for body in answer[0]})


def _found_in(namespaces: list[str], text: str) -> str:
    if not namespaces:
        return ""
    return f"{text} is in namespace {_some(namespaces, ' and ')}: -n {namespaces[0]}"


def _alike(name: str, choices: list[str]) -> list[str]:
    by_word: dict[str, str] = {}
    for choice in choices:  # a workload stands before the service of its name
        by_word.setdefault(choice.partition("/")[2], choice)
    like = [by_word[word] for word in difflib.get_close_matches(name, by_word, n=3, cutoff=0.6)]
    like += [choice for word, choice in by_word.items() if name in word and choice not in like]
    return like[:3]


def _some(choices: list[str], between: str = ", ") -> str:
    more = f" and {len(choices) - SHOWN} more" if len(choices) > SHOWN else ""
    return between.join(choices[:SHOWN]) + more


def _workload_ref(body: Json) -> tuple[str, str] | None:
    """What an Argo rollout takes its template from (spec.workloadRef): the same pods, and the rollout leads."""
    found = (body.get("spec") or {}).get("workloadRef")
    return (found["kind"].lower(), found["name"]) if found else None


def _is_before(service: Thing, workload: Thing) -> bool:
    """Whether the service's selector selects the workload's pods."""
    selector = (service.body.get("spec") or {}).get("selector") or {}
    if workload.kind is names.POD:
        labels = workload.body["metadata"].get("labels") or {}
    else:
        spec = workload.body.get("spec") or {}
        labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    return bool(selector) and selector.items() <= labels.items()
