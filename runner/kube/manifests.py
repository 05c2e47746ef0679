"""The objects that agents made for a session consist of, and the pieces of any agent's pod, as JSON. Pure.

What an agent's pod may do is decided here alone: its capabilities one by one, no privilege beyond them, no token of the
API server's, nothing writable. Fields are the Kubernetes API's (reference: core/v1 PodSpec, batch/v1 JobSpec).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from runner import VERSION
from runner.labels import AUTHOR, MODE, RELEASE, ROLE, SESSION, TARGET
from runner.plan import AGENT_CAPABILITIES
from wire.record import record

Json = dict[str, Any]

NAME = "app.kubernetes.io/name"
JOB = "mirror-run.dev/job"
"""On a Job's pods: its name. Kubernetes' own label for it was renamed once (1.27)."""

PRODUCT = "mirror-run"

CONTAINER = "agent"

BESIDE = [name for name in AGENT_CAPABILITIES if name != "SYS_ADMIN"]
"""Of an agent in the target's own pod: there are no namespaces to enter."""

LABEL_MOST = 63
"""Octets of a label's value (Kubernetes, "Labels and Selectors", syntax and character set)."""

FIRST, IDLE = 60, 2
"""Seconds that an agent waits for its first session, and after its last. A session outlives its runner's links by 60 s
of itself, so the second need only cover a runner that comes back in that moment."""

STARTS_WITHIN = 300
"""Seconds until a Job whose pod never ran is ended by its controller. Lifted as soon as the pod runs: it is for a
runner that was killed while the node looked for an image that does not exist."""

ENDS_WITHIN = 10
"""Seconds between SIGTERM and SIGKILL of an agent; one that stole has 8 for connections that go through it."""

REQUESTS = {"cpu": "10m", "memory": "32Mi"}
LIMITS = {"memory": "512Mi"}
"""No limit of the CPU: throttling would be felt by whoever the target serves (CFS stops a process for up to 100 ms)."""

EVERY_TAINT = [{"operator": "Exists"}]
"""The target is on that node already, whatever the node is kept for."""

NO_SIDECARS = {"sidecar.istio.io/inject": "false", "linkerd.io/inject": "disabled"}
"""A mesh's proxy would be one more container that never ends. Istio reads the label, linkerd the annotation."""


@record
class Marks:
    """Whose session it is and what it does, written on all of its objects so that others see it."""

    session: str
    author: str
    target: str  # deploy/cart
    mode: str = "mirror"

    def _texts(self) -> dict[str, str]:
        return {AUTHOR: self.author, TARGET: self.target, MODE: self.mode}

    def labels(self, role: str) -> dict[str, str]:
        """Values made safe."""
        texts = {NAME: PRODUCT, ROLE: role, SESSION: self.session, RELEASE: VERSION, **self._texts()}
        return {key: safe_label(text) for key, text in texts.items()}

    def annotations(self) -> dict[str, str]:
        """Values as they are."""
        return {key: text for key, text in self._texts().items() if text}


def safe_label(text: str) -> str:
    """``text`` in the syntax of a label's value: 63 octets of [-A-Za-z0-9_.], an alphanumeric at each end."""
    return re.sub(r"[^-A-Za-z0-9_.]", "-", text)[:LABEL_MOST].strip("-_.")


def security(capabilities: Sequence[str] = AGENT_CAPABILITIES) -> Json:
    """A container's security context: root with these capabilities and no other, and a root file system nobody writes.

    AppArmor's default profile forbids to read the processes of unconfined containers (nodes without it ignore this).
    """
    return {
        "runAsUser": 0,
        "runAsGroup": 0,
        "runAsNonRoot": False,
        "privileged": False,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"], "add": list(capabilities)},
        "seccompProfile": {"type": "RuntimeDefault"},
        "appArmorProfile": {"type": "Unconfined"},
    }


def container(
    image: str,
    arguments: Sequence[str],
    *,
    name: str = CONTAINER,
    capabilities: Sequence[str] = AGENT_CAPABILITIES,
) -> Json:
    """The agent's container, without resources (an ephemeral one may have none).

    The end of its log becomes its termination message, which whoever may see the pod may read.
    """
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": pull_policy(image),
        "args": list(arguments),
        "securityContext": security(capabilities),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def pull_policy(image: str) -> str:
    """Never, for a name without a registry: what nodes have under it was loaded there, and pulled it would be whatever
    somebody chose to publish on Docker Hub under our name, to run with SYS_ADMIN."""
    registry, found, _ = image.partition("/")
    has_registry = bool(found) and (bool(set(".:") & set(registry)) or registry == "localhost")
    return "IfNotPresent" if has_registry else "Never"


def pod_spec(main: Json, *, pull_secrets: Sequence[str] = (), drain: int = 0) -> Json:
    """The spec of an agent's own pod around its container: the node's pids, none of its network, no token. ``drain``:
    seconds that it may go on when it was told to end, for connections that go through it."""
    spec: Json = {
        "hostPID": True,
        "hostNetwork": False,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "dnsPolicy": "Default",
        "terminationGracePeriodSeconds": ENDS_WITHIN + drain,
        "tolerations": EVERY_TAINT,
        "containers": [main | {"resources": {"requests": REQUESTS, "limits": LIMITS}}],
    }
    if pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in pull_secrets]
    return spec


def arguments(
    port: int, secret_hash: str, pod_uids: Sequence[str], log_level: str, drain: int = 0
) -> list[str]:
    """Of an agent made for one session. The hash is the SHA-256 of its secret in hexadecimal digits; of ``pod_uids``
    it enters containers, of no other."""
    whole = ["--port", str(port), "--secret-hash", secret_hash]
    for uid in pod_uids:
        whole += ["--pod-uid", uid]
    if drain:
        whole += ["--drain", str(drain)]
    return [*whole, "--first", str(FIRST), "--idle", str(IDLE), "--log-level", log_level]


def job(
    name: str,
    node: str,
    main: Json,
    marks: Marks,
    *,
    pull_secrets: Sequence[str] = (),
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    ttl: int = 30,
    deadline: int | None = STARTS_WITHIN,
    drain: int = 0,
) -> Json:
    """A Job of one pod on one node, which is tried once. ``labels`` and ``annotations`` are the user's."""
    meta = {
        "labels": {**(labels or {}), **marks.labels("agent")},
        "annotations": {**(annotations or {}), **marks.annotations()},
    }
    of_pod = {
        "labels": meta["labels"] | {JOB: safe_label(name)} | NO_SIDECARS,
        "annotations": meta["annotations"] | NO_SIDECARS,
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, **meta},
        "spec": {
            "backoffLimit": 0,
            "ttlSecondsAfterFinished": ttl,
            **({} if deadline is None else {"activeDeadlineSeconds": deadline}),
            "template": {
                "metadata": of_pod,
                "spec": {
                    **pod_spec(main, pull_secrets=pull_secrets, drain=drain),
                    "nodeName": node,
                    "restartPolicy": "Never",
                },
            },
        },
    }


def pod_of(made: Json) -> Json:
    """The pod that a Job's controller would make, for the API server to judge before the Job is made."""
    template = made["spec"]["template"]
    meta = {"generateName": f"{made['metadata']['name']}-", **template["metadata"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": template["spec"]}


def ephemeral(main: Json, target_container: str) -> Json:
    """A strategic merge patch of pods/ephemeralcontainers: the agent beside ``target_container``, whose processes it
    sees. The pod's own security context may say runAsNonRoot: the container's wins."""
    return {"spec": {"ephemeralContainers": [main | {"targetContainerName": target_container}]}}


def capabilities_said(capabilities: Sequence[str] = AGENT_CAPABILITIES) -> str:
    """For a sentence: "SYS_ADMIN, SYS_PTRACE and NET_ADMIN"."""
    *most, last = capabilities
    return f"{', '.join(most)} and {last}" if most else last
