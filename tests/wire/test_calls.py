"""The call book: numbers, answers, and whose fault a wrong answer is."""

from __future__ import annotations

import dataclasses

import pytest

from wire import frames
from wire.calls import ANSWER, CallBook, is_answer
from wire.frames import BadFrame
from wire.messages import (
    Attach,
    Configured,
    CountersAre,
    Done,
    Environ,
    Failure,
    GetEnviron,
    Listening,
    Message,
    Ping,
)
from wire.messages import Counters as Zero


def test_questions_are_numbered_from_one() -> None:
    book = CallBook()
    assert [book.ask(Ping(0)).call for _ in range(3)] == [1, 2, 3]
    assert book.ask(Attach(0, 5, "id")) == Attach(4, 5, "id")


def test_answers_come_in_any_order_and_once() -> None:
    book = CallBook()
    book.ask(Ping(0))
    book.ask(GetEnviron(0, 0))
    assert book.settle(Environ(2, (), "/")) == 2
    assert book.settle(Failure(1, "no")) == 1
    with pytest.raises(BadFrame, match="Done answers the question 1, which is not open"):
        book.settle(Done(1))


def test_an_answer_of_the_wrong_kind_is_the_peers_fault() -> None:
    book = CallBook()
    book.ask(Ping(0))
    with pytest.raises(BadFrame, match="Environ is no answer to Ping"):
        book.settle(Environ(1, (), "/"))


def test_what_is_no_answer_is_nobodys() -> None:
    assert CallBook().settle(Listening(())) == 0
    assert CallBook().settle(Ping(1)) == 0


def test_an_answer_nobody_waits_for_any_more_is_let_go() -> None:
    book = CallBook()
    book.ask(Ping(0))
    book.give_up(1)
    assert book.settle(Done(1)) == 0
    book.give_up(1)  # too late, and harmless
    with pytest.raises(BadFrame):
        book.settle(Done(1))


def test_the_end_names_who_still_waits() -> None:
    book = CallBook()
    for _ in range(3):
        book.ask(Ping(0))
    book.give_up(2)
    book.settle(Done(1))
    assert book.end() == [3]
    assert book.end() == []


def test_only_questions_are_asked() -> None:
    with pytest.raises(TypeError, match="Listening is not a question"):
        CallBook().ask(Listening(()))


def test_every_message_with_a_call_is_a_question_or_an_answer() -> None:
    with_call = {
        cls for cls in frames.BY_TAG.values() if "call" in {field.name for field in dataclasses.fields(cls)}
    }
    answers: set[type[Message]] = {*ANSWER.values(), Failure}
    assert with_call == set(ANSWER) | answers
    assert not set(ANSWER) & answers
    assert is_answer(Configured(1))
    assert is_answer(CountersAre(1, Zero()))
    assert not is_answer(Ping(1))
