"""Which kind of agents a session has: the kind asked for, else the installed ones, else Jobs. Never one instead of
another that could not be had."""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Sequence
from dataclasses import replace

from runner.config import Caller, ClusterOptions
from runner.engine import Engine
from runner.errors import Refusal
from runner.kube import agent_images, image_nodes, names
from runner.kube.agents import Agents, AgentWishes, FounderSays, Provide
from runner.kube.alone import Alone
from runner.kube.api import Cluster
from runner.kube.daemonset import Installed, installation
from runner.kube.ephemeral import Ephemerals
from runner.kube.job import Jobs
from runner.kube.manifests import Marks
from runner.kube.rights import Wish
from runner.kube.workloads import KubeTarget
from runner.place import Proof
from runner.screen import Screen


async def chosen_agents(
    cluster: Cluster,
    options: ClusterOptions,
    caller: Caller,
    target: KubeTarget,
    proof: Proof,
    screen: Screen,
    engine: Awaitable[Engine],
    wishes: Sequence[Wish],
    *,
    drain: int = 0,
) -> Agents:
    """The agents, of which none is made yet. ``engine`` may be what the cluster's nodes are containers of; it is asked
    when the first is made. ``wishes``: of installed agents; whoever makes agents may do everything with them.
    ``drain``: seconds that agents of the session's own may outlive it. Refusal."""
    mode = "steal" if any(wish.right == "steal" for wish in wishes) else "mirror"
    kind, alone = options.agent, target.kind == names.TARGETLESS
    if alone and kind not in ("", "job"):
        raise Refusal(
            f"--targetless is a pod of the session's own, not an agent by {kind}", "leave --agent out"
        )
    if kind in ("", "daemonset") and not alone:
        found = await installation(cluster)
        if found is not None:
            return Installed(cluster, found, target, wishes, screen, mode=mode, session=proof.session)
        if kind:
            raise Refusal(
                "no daemonset of agents is installed in this cluster",
                "who runs the cluster installs it with `mirror-run install`; or leave out --agent",
            )
    founder = FounderSays(proof.session, proof.secret)
    files = any(wish.right == "files" for wish in wishes)
    made = replace(_made(options, caller), drain=drain, files=files)
    provide = _provider(options, caller, screen, engine)
    if kind == "ephemeral":
        return Ephemerals(cluster, target.namespace, made, founder, screen, provide)
    marks = Marks(proof.session, proof.author, target.name, mode)
    if alone:
        return Alone(cluster, target.namespace, made, marks, founder, screen, provide)
    namespace = options.agent_namespace or target.namespace
    return Jobs(cluster, namespace, made, marks, founder, screen, provide)


def _made(options: ClusterOptions, caller: Caller) -> AgentWishes:
    return AgentWishes(
        agent_images.reference(options.agent_image, caller.environ),
        namespace=options.agent_namespace,
        pull_secrets=options.agent_pull_secrets,
        labels=_pairs(options.agent_labels, "--agent-label"),
        annotations=_pairs(options.agent_annotations, "--agent-annotation"),
        ttl=int(options.agent_ttl),
    )


def _provider(options: ClusterOptions, caller: Caller, screen: Screen, engine: Awaitable[Engine]) -> Provide:
    image = agent_images.reference(options.agent_image, caller.environ)

    async def provide(nodes: Collection[str]) -> None:
        await image_nodes.provide(await engine, image, nodes, screen.step)

    return provide


def _pairs(texts: Sequence[str], option: str) -> dict[str, str]:
    """KEY=VALUE, each."""
    found: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise Refusal(
                f"{option} {text}: that is no KEY=VALUE", "write it as `kubectl label` does, with a ="
            )
        found[key] = value
    return found
