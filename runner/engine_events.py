"""What happens to the engine's containers, as it tells: an endless answer, read by a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Iterator
from typing import Any

from wire.record import record

log = logging.getLogger(__name__)


@record
class Event:
    """Something happened to a container: ``action`` as of the Docker Events API (create, start, die, destroy, …)."""

    container: str
    action: str
    labels: dict[str, str]

    @property
    def exit_code(self) -> int:
        return int(self.labels.get("exitCode", "0"))


class Subscription:
    """``stream`` gives the Docker Events API's objects. Its thread is a daemon: it sits in one long read."""

    def __init__(self, stream: Iterator[Any]) -> None:
        self._stream = stream
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[Event | None] = asyncio.Queue()
        threading.Thread(target=self._read, name="engine events", daemon=True).start()

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Event:
        event = await self._queue.get()
        if event is None:
            raise StopAsyncIteration
        return event

    def _read(self) -> None:
        try:
            for line in self._stream:
                attributes = line.get("Actor", {}).get("Attributes", {})
                event = Event(line.get("id", ""), line.get("Action", ""), attributes)
                self._loop.call_soon_threadsafe(self._queue.put_nowait, event)
        except Exception as error:  # noqa: BLE001
            # urllib3's, requests' and json's own errors come through here; each means that the stream broke.
            log.debug("engine events ended: %s", error)
        with contextlib.suppress(RuntimeError):  # the loop is closed: the run is over
            self._loop.call_soon_threadsafe(self._queue.put_nowait, None)
