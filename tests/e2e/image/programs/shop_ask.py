"""A client of shop.py's, for what curl cannot ask: one line of JSON, who answered what.

    shop_ask.py grpc HOST USER…        on one channel, each user in turn: [One, Down, Up, Both] for each
    shop_ask.py websocket HOST USER…   a connection for each: who echoed, and what
"""

from __future__ import annotations

import asyncio
import json
import sys


def by_grpc(host: str, users: list[str]) -> list[object]:
    import grpc

    told = []
    with grpc.insecure_channel(f"{host}:50051") as channel:
        one, down = channel.unary_unary("/shop.Shop/One"), channel.unary_stream("/shop.Shop/Down")
        up, both = channel.stream_unary("/shop.Shop/Up"), channel.stream_stream("/shop.Shop/Both")
        for user in users:
            more = {"metadata": [("x-user", user)], "timeout": 20}
            asks = [b"a", b"b", b"c"]
            answers: list[object] = [one(b"hello", **more).decode()]
            answers.append([each.decode() for each in down(b"3", **more)])
            answers.append(up(iter(asks), **more).decode())
            # Each is sent when the one before has been answered: a stream that was held back would hang.
            answers.append(ping_pong(both, asks, more))
            told.append(answers)
    return told


def ping_pong(call, asks: list[bytes], more: dict[str, object]) -> list[str]:
    import queue

    waiting: queue.Queue[bytes | None] = queue.Queue()
    answers, stream = [], call(iter(waiting.get, None), **more)
    for ask in asks:
        waiting.put(ask)
        answers.append(next(stream).decode())
    waiting.put(None)
    return [*answers, *(each.decode() for each in stream)]


async def by_websocket(host: str, users: list[str]) -> list[object]:
    import websockets

    told = []
    for user in users:
        async with websockets.connect(f"ws://{host}:8765/", extra_headers={"X-User": user}) as socket:
            answers = []
            for number in range(3):
                await socket.send(f"{user} {number}")
                answers.append(await asyncio.wait_for(socket.recv(), 20))
            told.append(answers)
    return told


what, host, *users = sys.argv[1:]
print(json.dumps(by_grpc(host, users) if what == "grpc" else asyncio.run(by_websocket(host, users))))
