"""The runner's link to an agent, dialled: a port-forward, and the Hello by which the session is founded there, or taken
over. What becomes of the link afterwards is ``agent_side``'s.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from links.handshake import greet
from links.link import Dismissed, Link, LinkEnded
from runner import VERSION
from runner.errors import Refusal
from runner.kube.agents import AgentPod, FounderSays
from runner.kube.errors import KubeError
from runner.kube.portforward import forward
from runner.kube.side_core import PATIENCE
from wire import messages as m
from wire.record import record

if TYPE_CHECKING:
    from runner.kube.api import Cluster

log = logging.getLogger(__name__)

LISTENS_WITHIN = 15.0
"""Seconds between the start of an agent's container and its first Welcome."""

ANSWERS_WITHIN = 10.0
"""Seconds from the port-forward to the Welcome: one to a pod that is just going may be taken and never served."""

HEARTBEAT = 5.0

FIRST_PAUSE = 0.05
LONGEST_PAUSE = 0.5
"""Seconds between attempts at a first link."""


@record
class Founding:
    """What every agent of a session is told: ``mirror_rate`` is octets of copies for each second, 0 for no limit;
    ``wish`` what is to be stolen, or chosen of what is mirrored, None for nothing."""

    cluster: Cluster
    author: str
    mirror_rate: int = 0
    wish: m.Steal | m.Choose | None = None

    async def first(self, agent: AgentPod, says: FounderSays) -> Link:
        """The agent's program may not listen yet; Refusal if it does not in time."""
        pause, error = FIRST_PAUSE, ""
        try:
            async with asyncio.timeout(LISTENS_WITHIN):
                while True:
                    try:
                        return (await self.dial(agent, says, again=False))[0]
                    except Dismissed as no:
                        raise Refusal(
                            f"the agent on node {agent.node} does not take the session: {no.reason}",
                            "`mirror-run doctor --probe` looks at its parts",
                        ) from no
                    except (LinkEnded, KubeError) as failure:
                        if isinstance(failure, KubeError) and (failure.forbidden or failure.unauthorized):
                            raise failure.refusal() from failure
                        error = sentence(failure)
                        log.debug("agent %s: %s", agent.pod, error)
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, LONGEST_PAUSE)
        except TimeoutError:
            raise Refusal(
                f"the agent in pod {agent.namespace}/{agent.pod} does not answer: {error}",
                f"`kubectl logs -n {agent.namespace} {agent.pod}` may say why",
            ) from None

    async def dial(self, agent: AgentPod, says: FounderSays, *, again: bool) -> tuple[Link, bool]:
        """A link, to be entered; whether it took over the session that was left. LinkEnded, KubeError."""
        hello = m.Hello(
            protocol=m.PROTOCOL,
            oldest=m.OLDEST_PROTOCOL,
            product=f"mirror-run {VERSION}",
            kind=int(m.LinkKind.CONTROL),
            session=says.session,
            secret=says.secret,
            author=self.author,
            founder=True,
            namespace=says.namespace,
            patience=PATIENCE,
            resumes=again,
            mirror_rate=self.mirror_rate,
        )
        stream = await forward(self.cluster, agent.namespace, agent.pod, agent.port)
        try:
            async with asyncio.timeout(ANSWERS_WITHIN):
                welcome = await greet(stream.reader, stream.writer, hello)
        except TimeoutError:
            stream.writer.close()
            raise LinkEnded(f"pod {agent.pod} did not answer within {ANSWERS_WITHIN:g} s") from None
        except BaseException:
            stream.writer.close()
            raise
        name = f"the agent on node {agent.node}"
        return Link(stream.reader, stream.writer, name=name, heartbeat=HEARTBEAT), welcome.resumed


def sentence(error: LinkEnded | KubeError) -> str:
    """Why there is no link."""
    return error.reason if isinstance(error, LinkEnded) else error.sentence
