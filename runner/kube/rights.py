"""Which rights a run wants, which of them the caller has, and what is said about those that are missing.

The API server is asked before anything is made, all at once; the admission policy asks the same questions again when
the session's object is created, so what is decided here is only what can be said early.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from runner.errors import Refusal
from runner.kube.admission import resource
from runner.kube.kinds import GROUP, SESSIONS
from wire.record import record

WORDS = {
    "mirror": "mirroring",
    "outgoing": "connections from the target",
    "env": "environment",
    "files": "files",
    "files-write": "writing to files",
    "steal": "stealing",
}
"""What each right is for, as it stands behind "no …"."""

ASK = "ask those who run the cluster to bind the ClusterRole mirror-run-{role} to you in {namespace}"


@record
class Wish:
    """A right that a run would use. ``asked``: the command line says so, by ``option``, so that it may not be left
    out."""

    right: str
    asked: bool = False
    option: str = ""


@record
class Granted:
    """``without``: a sentence for each right that the session does without."""

    rights: tuple[str, ...]
    without: tuple[str, ...] = ()

    def may(self, right: str) -> bool:
        return right in self.rights


class Reviews(Protocol):
    """Of ``runner.kube.api.Cluster``: SelfSubjectAccessReview."""

    async def allowed(
        self,
        verb: str,
        resource: str,
        *,
        namespace: str,
        group: str = "",
        subresource: str = "",
        name: str = "",
    ) -> bool: ...


async def judge(
    cluster: Reviews, namespace: str, wishes: Sequence[Wish], *, like_exec: bool = False
) -> Granted:
    """What of the wishes the caller may have in this namespace. Refusal when a right that was asked for is missing, or
    one without which there is no session."""
    async with asyncio.TaskGroup() as tasks:
        pods = tasks.create_task(cluster.allowed("get", "pods", namespace=namespace))
        sessions = tasks.create_task(cluster.allowed("create", SESSIONS, group=GROUP, namespace=namespace))
        execute = tasks.create_task(
            cluster.allowed("create", "pods", subresource="exec", namespace=namespace) if like_exec else _no()
        )
        each = [
            tasks.create_task(
                cluster.allowed("create", SESSIONS, group=GROUP, subresource=wish.right, namespace=namespace)
                if wish.right != "mirror" or like_exec
                else _yes()
            )
            for wish in wishes
        ]
    for verb, what, has in (("create", SESSIONS, sessions.result()), ("get", "pods", pods.result())):
        if not has:
            raise Refusal(f"you lack {verb} {what} in {namespace}", _ask(namespace, wishes))
    have = {wish.right: execute.result() or task.result() for wish, task in zip(wishes, each, strict=True)}
    for wish in wishes:
        if wish.asked and not have[wish.right]:
            raise Refusal(_without(wish.right, namespace), _leave_out(wish) + _ask(namespace, wishes))
    granted = tuple(right for right, has in have.items() if has)
    if not granted:
        raise Refusal(lack(wishes[0].right, namespace), _ask(namespace, wishes))
    return Granted(
        granted,
        tuple(_without(right, namespace) for right, has in have.items() if not has),
    )


def lack(right: str, namespace: str) -> str:
    """The same words that the admission policy uses."""
    return f"you lack create {resource(right)} in {namespace}"


def _without(right: str, namespace: str) -> str:
    """What is said of a right that is missing, whether it is a notice or a refusal."""
    return f"no {WORDS[right]}: {lack(right, namespace)}"


def _leave_out(wish: Wish) -> str:
    return f"leave out {wish.option}, which asks for it, or " if wish.option else ""


def _ask(namespace: str, wishes: Sequence[Wish]) -> str:
    wanted = {wish.right for wish in wishes}
    role = "full" if wanted & {"steal", "files-write"} else "develop" if wanted - {"mirror"} else "mirror"
    return ASK.format(role=role, namespace=namespace)


async def _yes() -> bool:
    return True


async def _no() -> bool:
    return False
