"""The call book: which questions are open on one link, and which answer each may have.

Sans-io, and it knows neither futures nor tasks: it numbers questions, tells to which of them a message is the
answer, and says which are still open when the link ends. Each side numbers its own questions, from 1,
ascending.
"""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

from wire.frames import BadFrame
from wire.messages import (
    AddAgent,
    Attach,
    Attached,
    Choose,
    Configure,
    Configured,
    CountersAre,
    Detach,
    Done,
    Environ,
    Failure,
    FilesRead,
    GetCounters,
    GetEnviron,
    GetFiles,
    LetGo,
    LookAtStealing,
    Message,
    Ping,
    RemoveAgent,
    Retarget,
    Steal,
    StealingLooked,
)

ANSWER: dict[type[Message], type[Message]] = {
    Attach: Attached,
    Detach: Done,
    GetEnviron: Environ,
    GetCounters: CountersAre,
    Steal: Done,
    Choose: Done,
    LetGo: Done,
    LookAtStealing: StealingLooked,
    Configure: Configured,
    Retarget: Done,
    AddAgent: Done,
    RemoveAgent: Done,
    GetFiles: FilesRead,
    Ping: Done,
}
"""What each question is answered with, when it could be done. Any may be answered with Failure."""

_ANSWERS = frozenset({*ANSWER.values(), Failure})

Question = TypeVar("Question", bound=Message)


class CallBook:
    """The open questions of one side of one link."""

    def __init__(self) -> None:
        self._last = 0
        self._open: dict[int, type[Message]] = {}
        self._given_up: set[int] = set()

    def ask(self, question: Question) -> Question:
        """The question with its number, to be sent. TypeError if it is none."""
        if type(question) not in ANSWER:
            raise TypeError(f"{type(question).__name__} is not a question")
        self._last += 1
        self._open[self._last] = type(question)
        untyped: Any = question  # Message alone has no fields that `replace` could know
        numbered: Question = dataclasses.replace(untyped, call=self._last)
        return numbered

    def settle(self, message: Message) -> int:
        """The number of the question that ``message`` answers; 0 if it is no answer, or nobody waits for it
        any more.

        BadFrame for an answer to what was never asked, or of the wrong kind: the peer's fault.
        """
        if type(message) not in _ANSWERS:
            return 0
        number: int = message.call  # type: ignore[attr-defined]
        question = self._open.pop(number, None)
        if question is None:
            raise BadFrame(f"{type(message).__name__} answers the question {number}, which is not open")
        if not isinstance(message, (Failure, ANSWER[question])):
            raise BadFrame(f"{type(message).__name__} is no answer to {question.__name__}")
        if number in self._given_up:
            self._given_up.remove(number)
            return 0
        return number

    def give_up(self, number: int) -> None:
        """Nobody waits for this answer any more; it will still come, and is then let go."""
        if number in self._open:
            self._given_up.add(number)

    def end(self) -> list[int]:
        """The link has ended: the questions that somebody still waits for, which will have no answer."""
        waiting = [number for number in self._open if number not in self._given_up]
        self._open.clear()
        self._given_up.clear()
        return waiting


def is_answer(message: Message) -> bool:
    """Whether this message belongs to a call book and to nobody else."""
    return type(message) in _ANSWERS
