"""What the runner asks of its session, answered: each question once, what cannot be done as a Failure with its reason.

Who may ask is the session's to say, what a session may do its warrant's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from agent import containers
from agent.chosen import Choosing
from agent.containers import NotHere
from agent.engine import Engine, EngineFault
from agent.stolen import Thieving
from agent.targets import Targets
from agent.warrants import NotAllowed, Warrant
from wire.messages import (
    Attach,
    Attached,
    Choose,
    CountersAre,
    Detach,
    Done,
    Environ,
    Failure,
    GetCounters,
    GetEnviron,
    LetGo,
    LookAtStealing,
    Message,
    Steal,
    StealingLooked,
)


class Answers:
    """``number`` is the engine's of the session. ``uses``: called with a right of which something is given;
    ``noticed`` returns when all notices so far have gone out."""

    def __init__(
        self,
        engine: Engine,
        number: int,
        targets: Targets,
        warrant: Warrant,
        stealing: Thieving,
        choosing: Choosing,
        uses: Callable[[str], None],
        noticed: Callable[[], Awaitable[None]],
    ) -> None:
        self._engine = engine
        self._number = number
        self._targets = targets
        self._warrant = warrant
        self._stealing = stealing
        self._choosing = choosing
        self._uses = uses
        self._noticed = noticed

    async def to(self, question: Message, call: int, still: Callable[[], bool]) -> Message:
        """``still``: whether who asks is to be obeyed, once it took time to find out."""
        try:
            return await self._done(question, still)
        except (EngineFault, NotHere, NotAllowed, ValueError, OSError) as error:
            reason = str(error.strerror or error) if isinstance(error, OSError) else str(error)
            return Failure(call, reason, getattr(error, "errno", None) or 0)

    async def _done(self, question: Message, still: Callable[[], bool]) -> Message:
        if not still():
            raise ValueError(f"{type(question).__name__} is the runner's to ask")
        match question:
            case Attach(call=call, target=index):
                target = await self._targets.attach(question, still)
                return Attached(call, index, target.pid, target.identity, containers.mounts(target.pid))
            case Detach(call=call, target=index):
                self._targets.detach(index)
                return Done(call)
            case GetEnviron(call=call, target=index):
                return self._environ(call, index)
            case GetCounters(call=call):
                self._choosing.look(last=True)
                await self._noticed()
                return CountersAre(call, self._engine.counters(self._number))
            case Steal(call=call):
                self._uses("steal")
                self._stealing.begin(question)
                return Done(call)
            case Choose(call=call):
                self._choosing.begin(question)
                return Done(call)
            case LookAtStealing(call=call, target=index):
                refused, taken = await self._stealing.look(index)
                return StealingLooked(call, refused, taken)
            case LetGo(call=call, within=within):
                await self._stealing.let_go(within / 1000)
                return Done(call)
            case _:
                raise ValueError(f"{type(question).__name__} is not a question for an agent")

    def _environ(self, call: int, index: int) -> Environ:
        if "env" not in self._warrant.rights:
            raise NotAllowed(f"no environment: {self._warrant.lacking('env')}")
        if index not in self._targets:
            raise ValueError(f"there is no target {index}")
        variables, cwd = self._targets[index].environ()
        self._uses("env")
        return Environ(call, variables, cwd)
