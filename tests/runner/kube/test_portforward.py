"""A port-forward leaves no socket behind, whenever it is given up."""

from __future__ import annotations

import asyncio
import base64
import gc
import hashlib
import ssl
import threading
import warnings
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trustme

from runner.kube.api import Cluster
from runner.kube.portforward import forward, open_transport
from tests.runner.kube.served import Asked, Served, served
from tests.runner.kube.test_api import cluster

ACCEPT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455, 1.3."""


def in_a_loop_of_its_own(work: Coroutine[Any, Any, None]) -> list[str]:
    """The loop is closed as soon as the work is done, as an interrupted command's is. What Python complains of then."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        loop = asyncio.new_event_loop()
        loop.run_until_complete(work)
        loop.close()
        gc.collect()
    return [str(one.message) for one in seen]


class Far:
    """An API server with TLS that upgrades to a WebSocket, or takes the request and says nothing."""

    def __init__(self, folder: Path, *, upgrades: bool) -> None:
        self._folder = folder
        self._upgrades = upgrades
        self.taken = threading.Event()
        self.server: Served | None = None

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[Served]:
        authority = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        (self._folder / "ca.pem").write_bytes(authority.cert_pem.bytes())
        async with served(self._answer, context) as self.server:
            yield self.server

    async def _answer(self, asked: Asked) -> None:
        self.taken.set()
        if self._upgrades:
            digest = hashlib.sha1(asked.headers["sec-websocket-key"].encode() + ACCEPT).digest()
            await asked.switch(
                Upgrade="websocket",
                Connection="Upgrade",
                Sec_WebSocket_Protocol="v4.channel.k8s.io",
                Sec_WebSocket_Accept=base64.b64encode(digest).decode(),
            )
        await asyncio.Event().wait()

    async def cluster(self) -> Cluster:
        assert self.server is not None
        said = {"server": f"https://127.0.0.1:{self.server.port}", "certificate-authority": "ca.pem"}
        return await cluster(self.server, self._folder, **said)


async def test_a_handshake_that_is_given_up(tmp_path: Path) -> None:
    far = Far(tmp_path, upgrades=False)

    async def given_up() -> None:
        one = await far.cluster()
        opening = asyncio.create_task(open_transport(one, "shop", "cart", 80, asyncio.Protocol()))
        await asyncio.to_thread(far.taken.wait)
        await one.close()
        opening.cancel()
        with suppress(asyncio.CancelledError):
            await opening

    async with far():
        assert await asyncio.to_thread(in_a_loop_of_its_own, given_up()) == []


@pytest.mark.parametrize("way", ["closed", "aborted", "left open"])
async def test_a_stream_ends_with_its_cluster(tmp_path: Path, way: str) -> None:
    far = Far(tmp_path, upgrades=True)

    async def used() -> None:
        one = await far.cluster()
        stream = await forward(one, "shop", "cart", 80)
        if way == "closed":
            stream.writer.close()
        elif way == "aborted":
            stream.writer.transport.abort()
        await one.close()

    async with far():
        assert await asyncio.to_thread(in_a_loop_of_its_own, used()) == []
