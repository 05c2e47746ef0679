"""A runner that stands still before it has configured its bridge."""

from __future__ import annotations

import asyncio
import socket

import pytest

from layer import unconfigured
from links.handshake import adopt
from links.link import Link


async def test_one_that_does_not_answer_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unconfigured, "ANSWERS_WITHIN", 0.05)
    ours, theirs = socket.socketpair()
    with theirs:
        async with Link(*await adopt(ours), name="the runner") as runner:
            await asyncio.wait_for(unconfigured.answering(runner), 5)
            assert runner.ended.done()


async def test_one_that_answers_may_take_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unconfigured, "ANSWERS_WITHIN", 0.5)
    monkeypatch.setattr(unconfigured, "ASKED_EVERY", 0.0)
    ours, theirs = socket.socketpair()
    async with (
        Link(*await adopt(ours), name="the runner") as runner,
        Link(*await adopt(theirs), name="bridge"),
    ):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(unconfigured.answering(runner), 1.0)
        assert not runner.ended.done()


async def test_one_that_is_gone_is_somebody_else_s_to_notice() -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    async with Link(*await adopt(ours), name="the runner") as runner:
        await asyncio.wait_for(unconfigured.answering(runner), 5)
