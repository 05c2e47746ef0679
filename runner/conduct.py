"""A session under this process's signals, and the end of this process after it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time

from links.link import CallFailed, LinkEnded
from runner.config import Caller, RunOptions
from runner.engine import EngineError
from runner.errors import Interrupted, Refusal
from runner.kube.errors import KubeError
from runner.refusals import translated
from runner.screen import Screen
from runner.session import Session
from runner.signals import FORWARDED, End, Forward, Signals


def conduct(options: RunOptions, caller: Caller, screen: Screen) -> int:
    """Play the session; its exit code. Refusal and Interrupted as of the session."""
    with asyncio.Runner() as runner:
        return runner.run(_play(options, caller, screen))


async def _play(options: RunOptions, caller: Caller, screen: Screen) -> int:
    session = Session(options, caller, screen)
    signals = Signals()
    play = asyncio.create_task(session.play(signals), name="session")
    ended_by: list[signal.Signals] = []

    def came(number: signal.Signals) -> None:
        match signals.came(number, time.monotonic()):
            case End() if not ended_by:
                ended_by.append(number)
                play.cancel()
            case Forward() if not ended_by:
                session.forward(number)

    loop = asyncio.get_running_loop()
    for number in FORWARDED:
        loop.add_signal_handler(number, came, number)
    failure: Refusal | Interrupted
    try:
        code = await play
    except asyncio.CancelledError:
        failure = Interrupted(ended_by[0] if ended_by else signal.SIGINT)
    except EngineError as error:
        failure = translated(error.sentence)
        failure.__cause__ = error
    except (CallFailed, LinkEnded) as error:
        failure = Refusal(f"the session broke: {error.reason}", "try again with --log-level debug")
        failure.__cause__ = error
    except KubeError as error:
        failure = error.refusal()
        failure.__cause__ = error
    except Refusal as refusal:
        failure = refusal
    else:
        if session.stuck:
            _leave(code)
        return code
    if session.stuck:
        if isinstance(failure, Refusal):
            screen.refusal(failure)
        _leave(failure.code)
    raise failure


def _leave(code: int) -> None:
    """Now: threads sit in calls that the engine does not answer, and the interpreter would wait for them."""
    sys.stdout.flush()
    os._exit(code)
