"""What is asked about any Job with an agent: whether its pod would be admitted, and runs; and that it be gone."""

from __future__ import annotations

import logging

from runner.kube import agent_state, manifests
from runner.kube.agents import AgentPod
from runner.kube.api import Cluster
from runner.kube.errors import KubeError
from runner.kube.manifests import Json
from runner.kube.refused import lacks_right, refused

log = logging.getLogger(__name__)


async def try_admission(cluster: Cluster, namespace: str, job: Json) -> None:
    """A Job's pod is refused long after the Job was made, by an event that not everybody may read. A pod that is only
    tried is judged at once; who may make Jobs but no pods learns it from the event. Refusal."""
    try:
        await cluster.create(_pods(namespace), manifests.pod_of(job), dryRun="All")
    except KubeError as error:
        if not lacks_right(error):
            raise refused(error, "an agent's pod", namespace) from error


async def runs(cluster: Cluster, namespace: str, agent: AgentPod) -> bool:
    """Whether its container does. Refusal when that cannot be known."""
    try:
        pod = await cluster.get(f"{_pods(namespace)}/{agent.pod}")
    except KubeError as error:
        if error.missing:
            return False
        raise error.refusal() from error
    return isinstance(agent_state.of_pod(pod, manifests.CONTAINER), agent_state.Runs)


async def delete(cluster: Cluster, namespace: str, name: str) -> bool:
    """With its pod, in the background; false if it may be there still. One that is not there is as good as deleted."""
    try:
        await cluster.delete(f"{jobs(namespace)}/{name}", propagationPolicy="Background")
    except KubeError as error:
        log.info("job %s: %s", name, error)
        return False
    return True


def jobs(namespace: str) -> str:
    """The path of the namespace's Jobs."""
    return f"/apis/batch/v1/namespaces/{namespace}/jobs"


def _pods(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/pods"
