"""Who has proved nothing yet: how many there may be, and what a failed proof costs."""

from __future__ import annotations

import asyncio
import logging

import pytest

from agent import threshold
from agent.threshold import SILENT, Threshold


async def test_the_one_silent_longest_makes_room() -> None:
    door = Threshold()
    inside = asyncio.Event()

    async def silent() -> None:
        door.enter()
        try:
            await inside.wait()
        finally:
            door.leave()

    tasks = [asyncio.create_task(silent()) for _ in range(SILENT)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)
    tasks.append(asyncio.create_task(silent()))
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    assert [at for at, task in enumerate(tasks) if task.done()] == [0]
    inside.set()
    await asyncio.wait(tasks)
    assert sum(task.cancelled() for task in tasks) == 1


async def test_who_has_spoken_is_not_turned_out() -> None:
    door = Threshold()

    async def spoken() -> None:
        door.enter()
        door.leave()
        await asyncio.Event().wait()

    async def silent() -> None:
        door.enter()
        await asyncio.Event().wait()

    speaker = asyncio.create_task(spoken())
    others = [asyncio.create_task(silent()) for _ in range(SILENT + 5)]
    for _ in range(3):
        await asyncio.sleep(0)
    assert not speaker.done()
    assert sum(task.done() for task in others) == 5
    for task in (speaker, *others):
        task.cancel()
    await asyncio.wait((speaker, *others))


async def test_failures_wait_and_too_many_get_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threshold, "PENALTY", 0.05)
    monkeypatch.setattr(threshold, "PENALISED", 3)
    door = Threshold()
    began = asyncio.get_running_loop().time()
    told = await asyncio.gather(*(door.failed("somewhere") for _ in range(5)))
    assert told == [True, True, True, False, False]
    assert asyncio.get_running_loop().time() - began >= 0.05
    assert await door.failed("somewhere")


async def test_the_log_is_not_filled(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(threshold, "PENALTY", 0.0)
    door = Threshold()
    for _ in range(100):
        await door.failed("at port 4100")
    monkeypatch.setattr(threshold, "SAID_EVERY", 0.0)
    await door.failed("at port 4100")
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "1 links could not prove their session's secret, the last one at port 4100",
        "100 links could not prove their session's secret, the last one at port 4100",
    ]
