"""The engine's one agent: found or made, started, and a control link to it. Several runs may do this at once.

The container's name is the lock: creating it a second time is a conflict, which means: somebody has, use
that one. An agent ends 2 s after its last link, so it may be going while we look; then it is waited for and made anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from links.handshake import greet
from links.link import Link, LinkEnded
from runner import VERSION, multiplexed, plan
from runner.engine import Engine, EngineError
from runner.errors import Refusal
from runner.place import Proof
from wire.messages import OLDEST_PROTOCOL, PROTOCOL, Hello, LinkKind

log = logging.getLogger(__name__)

T = TypeVar("T")

LOOKS_EVERY = 1.0
"""Seconds of silence after which the agent's container is looked at."""

GOING = 60.0
"""Seconds that one which is going has, far more than it needs."""

TRIES = 5
"""Each lost race is with another run that ended in just that moment."""


class Words:
    """The last lines that a helper program wrote to its stderr: they say why its stream ended."""

    def __init__(self, name: str, also: Callable[[str], None] | None = None) -> None:
        self._name = name
        self._also = also
        self._part = b""
        self.last: list[str] = []

    def __call__(self, octets: bytes) -> None:
        *lines, self._part = (self._part + octets).split(b"\n")
        for line in lines:
            text = line.decode(errors="replace")
            log.debug("%s: %s", self._name, text)
            self.last = [*self.last[-19:], text]
            if self._also:
                self._also(text)


async def find(engine: Engine, name: str, config: dict[str, Any]) -> str:
    """The agent's container, made if there is none (created or running; not yet started by us). Returns its id."""
    for _ in range(TRIES):
        try:
            found = await engine.inspect(name)
        except EngineError as error:
            if not error.missing:
                raise
        else:
            if found["State"]["Status"] in ("running", "created"):
                return str(found["Id"])
            await _gone(engine, name)
        try:
            return await engine.create(name, config)
        except EngineError as error:
            if not error.conflict:
                raise
    raise Refusal(f"the agent {name} was there and gone {TRIES} times", f"`docker rm -f {name}`, then again")


async def _gone(engine: Engine, name: str) -> None:
    """Refusal: it does not go. The kernel ends no process of which a thread waits for a disk whose server is gone."""
    try:
        async with asyncio.timeout(GOING):
            await engine.gone(name)
    except TimeoutError:
        raise Refusal(
            f"the agent {name} is ending and has not ended for {GOING:.0f} s: the kernel holds it,"
            " as it does while a disk of a target's hangs",
            "it goes when that disk answers, or is unmounted by force (`umount -f`); then again",
        ) from None


async def dial(engine: Engine, container: str, proof: Proof) -> Link:
    """Start the agent if it does not run, and open the session's founding link (not yet reading: use ``async with``).

    LinkEnded or EngineError if it ended meanwhile: look again. Refusal for a version that does not fit.
    """
    await engine.start(container)
    sock = await engine.execute(container, ["mirror-link", plan.AGENT_FOUNDERS])
    words = Words("mirror-link")
    reader, writer = await multiplexed.streams(sock, words)
    hello = Hello(
        protocol=PROTOCOL,
        oldest=OLDEST_PROTOCOL,
        product=f"mirror-run {VERSION}",
        kind=int(LinkKind.CONTROL),
        session=proof.session,
        secret=proof.secret,
        author=proof.author,
        founder=True,
    )
    try:
        welcome = await while_alive(engine, container, greet(reader, writer, hello))
    except LinkEnded as error:
        writer.close()
        raise LinkEnded("; ".join([error.reason, *words.last[-1:]])) from None
    log.debug("agent: %s, protocol %d", welcome.product, welcome.protocol)
    return Link(reader, writer, name="the agent")


async def while_alive(engine: Engine, container: str, talk: Coroutine[Any, Any, T]) -> T:
    """What ``talk`` with the agent gives; LinkEnded if the agent's container ends meanwhile.

    The stream of an exec may stay open for ever when its container ended as the exec began (seen with 20.10).
    """
    task = asyncio.create_task(talk, name="talk with the agent")
    try:
        while not (await asyncio.wait([task], timeout=LOOKS_EVERY))[0]:
            if await ended(engine, container):
                raise LinkEnded("the agent ended")
        return task.result()
    finally:
        task.cancel()


async def ended(engine: Engine, container: str) -> bool:
    """Whether this agent is over, so that a failure to reach it was a race lost and no fault."""
    try:
        state = (await engine.inspect(container))["State"]
    except EngineError as error:
        if error.missing:
            return True
        raise
    return state["Status"] not in ("created", "running")
