"""A watch that outlives its connections: changes of one collection, gone on from the last version seen.

kubernetes.io/docs/reference/using-api/api-concepts, "Efficient detection of changes". Bookmarks keep the version young,
so that a restart of the API server needs no new list.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from typing import Any

from runner.kube.errors import KubeError
from runner.kube.exchange import CLOSED, Answer

log = logging.getLogger(__name__)

Json = dict[str, Any]
Ask = Callable[[Mapping[str, str]], contextlib.AbstractAsyncContextManager[Answer]]

ROUND = 300
"""Seconds after which the server is asked to end one answer. The next goes on where it ended."""
SILENT = 150.0
"""Seconds without a word after which the connection counts as dead: bookmarks come about every 60 s."""
LONGEST_PAUSE = 5.0
EVENT = 32 * 1024 * 1024
"""Octets of one event at most; etcd's own bound for an object is 1.5 MB."""


async def watched(ask: Ask, version: str, path: str) -> AsyncGenerator[tuple[str, Json], None]:
    """(type, object) without bookmarks. ``ask`` opens an answer for these query parameters."""
    pause = 0.0
    while True:
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(ROUND),
            "resourceVersion": version,
        }
        try:
            async with ask(query) as answer, contextlib.aclosing(_events(answer)) as events:
                async for kind, item in events:
                    pause = 0.0
                    if kind == "ERROR":
                        raise _of_status(item, path)
                    version = str(item.get("metadata", {}).get("resourceVersion") or version)
                    if kind != "BOOKMARK":
                        yield kind, item
        except KubeError as error:
            if not _passes(error):
                raise
            log.info("the watch of %s ended (%s); it goes on in %.1f s", path, error, pause)
        await asyncio.sleep(pause)
        pause = min(max(pause * 2, 0.1), LONGEST_PAUSE)


async def _events(answer: Answer) -> AsyncGenerator[tuple[str, Json], None]:
    async with contextlib.aclosing(_lines(answer.body)) as lines:
        async for line in lines:
            try:
                event = json.loads(line)
                yield str(event["type"]), event["object"]
            except (ValueError, KeyError, TypeError):
                raise KubeError(0, "", "the API server sent a watch event that is none") from None


async def _lines(body: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """One JSON document a line. What comes after the last line's end was cut off, and comes again."""
    rest = b""
    while True:
        try:
            async with asyncio.timeout(SILENT):
                octets = await anext(body)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise KubeError(0, "", f"no word from the API server for {SILENT:.0f} s") from None
        *whole, rest = (rest + octets).split(b"\n")
        if len(rest) > EVENT:
            raise KubeError(0, "", "the API server sent a watch event larger than 32 MiB")
        for line in whole:
            if line.strip():
                yield line


def _passes(error: KubeError) -> bool:
    """Whether the same question may be answered later: the server is away, starting, or busy."""
    return (error.unreachable and error.reason != CLOSED) or error.status in (429, 500, 502, 503, 504)


def _of_status(status: Json, path: str) -> KubeError:
    code = int(status.get("code") or 500)
    message = str(status.get("message") or f"the watch of {path} failed")
    return KubeError(code, str(status.get("reason") or ""), message)
