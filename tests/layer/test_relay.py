"""A relay between two connections of this process, with real sockets of the loopback."""

from __future__ import annotations

import asyncio
import gc
import socket

import pytest

from layer.relay import Relays


def _all(sock: socket.socket) -> bytes:
    """What comes until the other side has no more to say."""
    octets = b""
    while more := sock.recv(4096):
        octets += more
    return octets


async def test_an_answer_comes_after_the_question_has_ended() -> None:
    """A half-closed connection is no garbage: asyncio itself keeps nothing of it that would keep the relay's task."""
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        async with Relays() as relays:
            await relays.stand_in(port := listener.getsockname()[1], "::1")
            with socket.create_connection(("127.0.0.1", relays.ports[port]), 10) as client:
                client.sendall(b"question")
                client.shutdown(socket.SHUT_WR)
                app, _ = await asyncio.to_thread(listener.accept)
                with app:
                    app.settimeout(10)
                    assert await asyncio.to_thread(_all, app) == b"question"
                    gc.collect()
                    app.sendall(b"answer")
                    app.shutdown(socket.SHUT_WR)
                    assert await asyncio.to_thread(_all, client) == b"answer"


@pytest.mark.parametrize("ends", ["client", "app"])
async def test_an_end_on_one_side_is_one_on_the_other(ends: str) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        async with Relays() as relays:
            await relays.stand_in(port := listener.getsockname()[1], "::1")
            with socket.create_connection(("127.0.0.1", relays.ports[port]), 10) as client:
                app, _ = await asyncio.to_thread(listener.accept)
                app.settimeout(10)
                first, second = (client, app) if ends == "client" else (app, client)
                first.close()
                assert await asyncio.to_thread(_all, second) == b""
                second.close()
