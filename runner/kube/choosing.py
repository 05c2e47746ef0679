"""Which kind of agents a session has: the kind asked for, else the installed ones, else Jobs. Never one instead of
another that could not be had."""

from __future__ import annotations

from runner.config import Caller, ClusterOptions
from runner.errors import Refusal
from runner.kube import agent_images
from runner.kube.agents import Agents, AgentWishes, FounderSays
from runner.kube.api import Cluster
from runner.kube.daemonset import Installed, installation
from runner.kube.ephemeral import Ephemerals
from runner.kube.job import Jobs
from runner.kube.manifests import Marks
from runner.kube.rights import Wish
from runner.kube.workloads import KubeTarget
from runner.place import Proof
from runner.screen import Screen

WISHES = (Wish("mirror"), Wish("outgoing"), Wish("env"))
"""What a session that mirrors would do; what of it the caller lacks is left out, and said."""


async def chosen_agents(
    cluster: Cluster,
    options: ClusterOptions,
    caller: Caller,
    target: KubeTarget,
    proof: Proof,
    screen: Screen,
) -> Agents:
    """The agents, of which none is made yet. Refusal."""
    kind = options.agent
    if kind in ("", "daemonset"):
        found = await installation(cluster)
        if found is not None:
            return Installed(cluster, found, target, WISHES, screen)
        if kind:
            raise Refusal(
                "no daemonset of agents is installed in this cluster",
                "who runs the cluster installs it with `mirror-run install`; or leave out --agent",
            )
    founder = FounderSays(proof.session, proof.secret)
    wishes = AgentWishes(
        agent_images.reference(options.agent_image, caller.environ),
        namespace=options.agent_namespace,
        ttl=int(options.agent_ttl),
    )
    if kind == "ephemeral":
        return Ephemerals(cluster, target.namespace, wishes, founder, screen)
    marks = Marks(proof.session, proof.author, target.name)
    return Jobs(cluster, options.agent_namespace or target.namespace, wishes, marks, founder, screen)
