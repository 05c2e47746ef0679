"""The bridge's conversation with its runner, from the first frame to the end of either.

The end of standard input means that the runner is gone; then, as on SIGTERM, everything ends within two
seconds.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Awaitable, Callable

from layer.bridge import Bridge, Engine
from layer.nft import NftError
from layer.unconfigured import answering
from links.link import Link, LinkEnded
from links.stdio import stdio
from wire.messages import (
    AddAgent,
    Configure,
    Configured,
    Done,
    Failure,
    GetFiles,
    Message,
    RemoveAgent,
    Retarget,
)

log = logging.getLogger(__name__)

END_WITHIN = 1.5
"""Seconds for an orderly end; then the process ends as it is: the kernel takes back tun0, sockets and rules'
namespace.
"""


async def serve(runner: Link, engine: Callable[[int], Engine]) -> None:
    """Does what the runner asks, until its link ends."""
    async with Bridge(engine, lambda message: _tell(runner, message)) as bridge, asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(answering(runner), name="until configured")
        adding: dict[int, asyncio.Task[None]] = {}
        async for message in runner.incoming():
            match message:
                case Configure(call=call):
                    waiting.cancel()
                    logging.getLogger().setLevel(message.log_level)
                    await _answer(runner, call, Configured(call), bridge.configure(message))
                case Retarget(call=call):
                    deed = bridge.retarget(message.identity, message.agent, message.target)
                    await _answer(runner, call, Done(call), deed)
                case GetFiles(call=call):
                    await _tell(runner, bridge.files_read(call))
                case AddAgent(call=call, agent=number):
                    # A tunnel may have to be made first: nothing else waits for that.
                    deed = bridge.add_agent(number, message.socket)
                    adding[number] = tasks.create_task(
                        _answer(runner, call, Done(call), deed), name=f"add agent {number}"
                    )
                    await asyncio.sleep(0)  # it has begun, so that it answers also when it is cancelled
                case RemoveAgent(call=call, agent=number):
                    if task := adding.pop(number, None):
                        task.cancel()
                        await asyncio.wait([task])
                    await _answer(runner, call, Done(call), bridge.remove_agent(number))
                case _:
                    log.warning("the runner said %s, which is not for a bridge", type(message).__name__)
        waiting.cancel()


async def _tell(runner: Link, message: Message) -> None:
    try:
        await runner.send(message)
    except LinkEnded:
        log.debug("the runner is gone: it is not told %s", type(message).__name__)


async def _answer(runner: Link, call: int, answer: Message, deed: Awaitable[None]) -> None:
    """Awaits the deed and says how it went; what was nobody's fault but ours is said too, and logged whole."""
    try:
        await deed
    except asyncio.CancelledError:
        await _tell(runner, Failure(call, "the bridge: not wanted any more"))
        raise
    except LinkEnded as error:
        answer = Failure(call, f"the agent: {error.reason}")
    except OSError as error:
        answer = Failure(call, f"the bridge: {error.strerror or error}", error.errno or 0)
    except NftError as error:
        answer = Failure(call, f"the bridge: {error}")
    except Exception as error:
        log.exception("a bug")
        answer = Failure(call, f"the bridge has a bug: {type(error).__name__}: {error}")
    await _tell(runner, answer)


async def live(engine: Callable[[int], Engine]) -> None:
    """The process's life: frames with the runner on standard input and output, the log on standard error.

    ``engine`` makes the data plane on tun0's descriptor, which it takes.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="bridge: %(message)s")
    reader, writer = await stdio()
    async with Link(reader, writer, name="the runner") as runner:
        loop = asyncio.get_running_loop()
        end = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, end.set)
        runner.ended.add_done_callback(lambda _: end.set())
        served = asyncio.create_task(serve(runner, engine), name="serve")
        ended = asyncio.create_task(end.wait(), name="end")
        await asyncio.wait((served, ended), return_when=asyncio.FIRST_COMPLETED)
        served.cancel()
        done, _ = await asyncio.wait((served,), timeout=END_WITHIN)
        if not done:
            log.error("not everything ended in time")
        elif not served.cancelled() and (error := served.exception()) is not None:
            log.error("the bridge failed", exc_info=error)
