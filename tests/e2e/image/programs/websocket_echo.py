"""A WebSocket echo server on 8765, and with an argument the client: sends COUNT messages and checks each answer."""

from __future__ import annotations

import asyncio
import sys

import websockets


async def echo(socket: websockets.WebSocketServerProtocol) -> None:
    async for message in socket:
        await socket.send(message)


async def serve() -> None:
    async with websockets.serve(echo, "", 8765):
        await asyncio.Event().wait()


async def ask(url: str, count: int) -> None:
    async with websockets.connect(url) as socket:
        for number in range(count):
            await socket.send(f"message {number}")
            if await socket.recv() != f"message {number}":
                sys.exit("altered")
    print("ok")


asyncio.run(ask(sys.argv[1], int(sys.argv[2])) if len(sys.argv) > 2 else serve())
