"""What the status of a container says about the agent in it: that it waits, runs, or will never run. Pure.

Reasons are the kubelet's (kubernetes/pkg/kubelet: images/types.go, container/sync_result.go, kuberuntime).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

from wire.record import record

Json = dict[str, Any]

NO_IMAGE = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "ErrImageNeverPull",
        "InvalidImageName",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)

NEVER_STARTS = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "PreCreateHookError"}
)
"""Some of these may pass, but not one does within the patience of somebody who waits for a prompt."""


@record
class Waits:
    """``why``: the kubelet's word, "" if it has said nothing yet."""

    why: str = ""


@record
class Runs:
    """The container's first process was started."""


@record
class Over:
    """It has ended, or will never begin: what was seen, and the next step ("" if there is none)."""

    what: str
    next_step: str = ""


State: TypeAlias = Waits | Runs | Over


def of_pod(pod: Json, container: str) -> State:
    """Of an agent's own pod."""
    meta, status = pod["metadata"], pod.get("status") or {}
    if status.get("phase") in ("Failed", "Succeeded") and (reason := status.get("reason")):
        # The kubelet's own admission (OutOfcpu, NodeAffinity), an eviction, a node that went away.
        return Over(f"{reason}: {status.get('message') or 'no more was said'}", _about_node(reason))
    state = of_container(status.get("containerStatuses") or (), container, pod["spec"])
    if "deletionTimestamp" in meta and not isinstance(state, Over):
        return Over("somebody deleted it")
    if isinstance(state, Waits) and not state.why and (not_scheduled := _not_scheduled(status)):
        return Waits(not_scheduled)
    return state


def of_container(statuses: Iterable[Json], name: str, spec: Json) -> State:
    """Of one container, by the pod's list of statuses (the ephemeral ones' is another)."""
    said: Json = next((one for one in statuses if one["name"] == name), {})
    match said.get("state") or {}:
        case {"running": _}:
            return Runs()
        case {"terminated": ended}:
            return Over(_ended(ended))
        case {"waiting": waiting}:
            return _waiting(waiting, said.get("image", ""), spec)
    return Waits()


def of_event(event: Json, field: str, image: str, spec: Json) -> Over | None:
    """What an event of the kubelet's says about the container at ``field`` (spec.ephemeralContainers{x}), if it is that
    its image cannot be had. It comes with the first attempt; the status of an ephemeral container follows 10 s later.
    """
    if (event.get("involvedObject") or {}).get("fieldPath") != field:
        return None
    reason, message = event.get("reason", ""), str(event.get("message") or "")
    if reason == "Failed" and message.startswith("Failed to pull image"):
        reason = "ErrImagePull"
    state = _waiting({"reason": reason, "message": message}, image, spec) if reason in NO_IMAGE else None
    return state if isinstance(state, Over) else None


def _waiting(waiting: Json, image: str, spec: Json) -> State:
    reason, message = waiting.get("reason", ""), " ".join(str(waiting.get("message") or "").split())
    if reason == "ErrImageNeverPull":
        return Over(
            f"the node has no image {image}, and a name without a registry is never pulled (ErrImageNeverPull)",
            "`mirror-run images push REGISTRY`, then --agent-image with what it prints; or load the image into the "
            "nodes (`mirror-run images save FILE`)",
        )
    if reason in NO_IMAGE:
        secrets = [one["name"] for one in spec.get("imagePullSecrets") or ()]
        asked = (
            f"the pull secret {', '.join(secrets)}" if secrets else "whether the registry wants a pull secret"
        )
        return Over(
            f"its image {image} cannot be had: {reason}: {message}",
            f"check --agent-image and {asked}; `mirror-run images push REGISTRY` puts the image where nodes reach it",
        )
    if reason in NEVER_STARTS:
        return Over(f"{reason}: {message}", "`mirror-run doctor` looks at what an agent needs")
    return Waits(f"{reason}: {message}" if message else reason)


def _ended(ended: Json) -> str:
    """The agent's last words are the termination message (terminationMessagePolicy FallbackToLogsOnError)."""
    words = [line for line in str(ended.get("message") or "").splitlines() if line.strip()]
    said = f": {' / '.join(words[-3:])}" if words else ""
    return f"the agent ended ({ended.get('reason', 'Error')}, code {ended.get('exitCode')}){said}"


def _not_scheduled(status: Json) -> str:
    for one in status.get("conditions") or ():
        if one.get("type") == "PodScheduled" and one.get("status") == "False":
            return f"{one.get('reason', '')}: {one.get('message', '')}"
    return ""


def _about_node(reason: str) -> str:
    if reason.startswith("OutOf"):
        return "the node is full to the last: make room on it"
    if reason in ("Evicted", "Preempting", "Shutdown", "NodeShutdown", "Terminated"):
        return "the node is being emptied: try again when the target runs elsewhere"
    return "`kubectl describe node` says more"
