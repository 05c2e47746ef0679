"""What agents made for a session need of the API server, by their kind; and whether this user has it."""

from __future__ import annotations

from collections.abc import Sequence

from runner.errors import Refusal
from runner.kube.api import Cluster
from runner.kube.kinds import GROUP, SESSIONS
from runner.together import together
from wire.record import record


@record
class Right:
    """One thing that RBAC may allow, in the agents' namespace. str() is how people write it: create jobs.batch."""

    verb: str
    resource: str
    group: str = ""
    subresource: str = ""

    def __str__(self) -> str:
        whole = f"{self.resource}.{self.group}" if self.group else self.resource
        return f"{self.verb} {whole}/{self.subresource}" if self.subresource else f"{self.verb} {whole}"


SEE = (Right("get", "pods"), Right("list", "pods"), Right("watch", "pods"))
FORWARD = (
    Right("get", "pods", subresource="portforward"),
    Right("create", "pods", subresource="portforward"),
)
"""A WebSocket begins as a GET, so RBAC is asked for `get`; servers since 1.35 ask for `create` besides."""

JOB = (Right("create", "jobs", "batch"), Right("delete", "jobs", "batch"), *SEE, *FORWARD)
EPHEMERAL = (Right("patch", "pods", subresource="ephemeralcontainers"), *SEE, *FORWARD)

HOLD = (Right("delete", SESSIONS, GROUP), Right("patch", SESSIONS, GROUP, "status"))
"""Of the session's object, once it may be created: its lease is renewed, and it goes with the session."""

LIFT = Right("patch", "jobs", "batch")
"""Not needed: without it a Job has no deadline for its start, since nobody could lift it."""

READ_EVENTS = Right("watch", "events")
"""Not needed: with it a refusal of admission is told that a pod which is only tried did not meet."""


async def has(cluster: Cluster, namespace: str, right: Right) -> bool:
    """SelfSubjectAccessReview."""
    return await cluster.allowed(
        right.verb,
        right.resource,
        namespace=namespace,
        group=right.group,
        subresource=right.subresource,
    )


async def missing(cluster: Cluster, namespace: str, rights: Sequence[Right]) -> list[Right]:
    """Which of them the caller lacks, asked all at once."""
    found: list[bool] = await together(*(has(cluster, namespace, right) for right in rights))
    return [right for right, granted in zip(rights, found, strict=True) if not granted]


async def need(cluster: Cluster, namespace: str, rights: Sequence[Right], next_step: str) -> None:
    """Refusal that names each one that is missing."""
    if lacking := await missing(cluster, namespace, rights):
        raise Refusal(
            f"you lack {', '.join(map(str, lacking))} in namespace {namespace}, "
            "which agents made for a session need",
            next_step,
        )
