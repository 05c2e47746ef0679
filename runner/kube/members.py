"""Which pods a target has: what the API server is asked for, and what is told apart after that.

Pure. A label selector alone is not enough: that of a deployment also selects the pods of a canary beside it whose
labels are more. A controller's own word on a pod is its owner reference, so that is looked at too.
"""

from __future__ import annotations

import re
from typing import Any

from runner.kube import names
from runner.kube.pod import is_ours
from wire.record import record

Json = dict[str, Any]

TEMPLATE_HASHES = ("pod-template-hash", "rollouts-pod-template-hash")
JOB_NAME = "job-name"
"""The label of a job's pods with the job's name; newer servers also set it with a prefix."""

_OWNERS = {
    names.STATEFULSET.word: "StatefulSet",
    names.DAEMONSET.word: "DaemonSet",
    names.REPLICASET.word: "ReplicaSet",
    names.JOB.word: "Job",
}


@record
class Members:
    """Where a target's pods are. ``selector`` is a label selector as the API's lists take it, ``pod`` the name of the
    only one; ``kind`` and ``name`` are the workload's. ``since``: of a cron job, its newest job when it was looked
    up; later ones count as well."""

    namespace: str
    kind: str
    name: str
    selector: str = ""
    pod: str = ""
    since: str = ""

    @property
    def path(self) -> str:
        return names.POD.path(self.namespace)

    @property
    def query(self) -> dict[str, str]:
        """For a list or a watch."""
        query = {"labelSelector": self.selector} if self.selector else {}
        return query | ({"fieldSelector": f"metadata.name={self.pod}"} if self.pod else {})

    def has(self, pod: Json) -> bool:
        """Whether a pod that was found so is one of the target's."""
        if self.kind == names.TARGETLESS:  # a pod of the session's own, or none
            return bool(self.selector)
        if is_ours(pod):
            return False
        if self.kind == names.CRONJOB.word:
            return self._is_of_job((pod["metadata"].get("labels") or {}).get(JOB_NAME, ""))
        owner = controller(pod)
        if not owner:
            return True
        if self.kind in (names.DEPLOYMENT.word, names.ROLLOUT.word) and owner["kind"] == "ReplicaSet":
            return _made_by(pod, owner["name"]) in ("", self.name)
        if expected := _OWNERS.get(self.kind):
            return (owner["kind"], owner["name"]) == (expected, self.name)
        return True

    def _is_of_job(self, job: str) -> bool:
        """Its jobs are named for the minute of their schedule; one made by hand may have any name."""
        if job == self.since:
            return bool(job)
        made = _scheduled(self.name, job)
        return made is not None and made > (_scheduled(self.name, self.since) or 0)


def controller(thing: Json) -> Json:
    """The owner reference of what controls it, or {}."""
    owners = thing["metadata"].get("ownerReferences") or ()
    return next((one for one in owners if one.get("controller")), {})


def selector_text(selector: Json | None) -> str:
    """A LabelSelector (meta/v1) as lists take it; empty for one that selects nothing in particular."""
    selector = selector or {}
    parts = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    for one in selector.get("matchExpressions") or ():
        key, values = one["key"], ",".join(one.get("values") or ())
        match one["operator"]:
            case "In":
                parts.append(f"{key} in ({values})")
            case "NotIn":
                parts.append(f"{key} notin ({values})")
            case "Exists":
                parts.append(key)
            case "DoesNotExist":
                parts.append(f"!{key}")
    return ",".join(parts)


def _made_by(pod: Json, replica_set: str) -> str:
    """The deployment or rollout that named this replica set (NAME-HASH); empty if it is named otherwise."""
    labels = pod["metadata"].get("labels") or {}
    for label in TEMPLATE_HASHES:
        if (found := labels.get(label)) and replica_set.endswith(f"-{found}"):
            return replica_set.removesuffix(f"-{found}")
    return ""


def _scheduled(cron_job: str, job: str) -> int | None:
    """The minute since the epoch that a cron job's controller wrote into a job's name."""
    found = re.fullmatch(re.escape(cron_job) + r"-(\d{6,12})", job)
    return int(found[1]) if found else None
