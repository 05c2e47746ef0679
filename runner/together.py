"""Several things at once: as one, so that the first failure ends all; or in the background of a block."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, NoReturn

log = logging.getLogger(__name__)


async def together(*work: Coroutine[Any, Any, Any]) -> list[Any]:
    """The results, in order. The first failure ends the others and is raised as itself, not in a group."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except BaseExceptionGroup as failures:
        raise _first(failures) from None
    return [task.result() for task in tasks]


async def never() -> NoReturn:
    """Waits until it is cancelled."""
    await asyncio.get_running_loop().create_future()
    raise AssertionError("nobody sets this future")


@asynccontextmanager
async def background(work: Mapping[str, Coroutine[Any, Any, Any]]) -> AsyncIterator[None]:
    """Named work that goes on inside the block and is ended with it. What fails is logged as the bug that it is, and
    ends nothing."""
    tasks = [asyncio.create_task(one, name=name) for name, one in work.items()]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task, result in zip(tasks, await asyncio.gather(*tasks, return_exceptions=True), strict=True):
            if isinstance(result, Exception):
                log.error("%s: %r", task.get_name(), result)


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    first = failures.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
