"""A gRPC service and its client, each a process of its own: ``serve NAME PORT`` and ``ask ADDRESS PORT``.

Messages are octets, so that nothing needs to be generated. The client has one channel, which is one connection, and
sends each second call with ``x-mine: 1``; every answer says who gave it. A service says each call that it got whole.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent import futures
from queue import SimpleQueue
from typing import Any

import grpc

MINE = (("x-mine", "1"),)
BIG = 1 << 20


class Cart(grpc.GenericRpcHandler):
    """All four kinds of method, and one that fails."""

    def __init__(self, name: str) -> None:
        self.name = name.encode()

    def service(self, details: Any) -> Any:
        made = {
            "/shop.Cart/Get": grpc.unary_unary_rpc_method_handler(self.get),
            "/shop.Cart/List": grpc.unary_stream_rpc_method_handler(self.list),
            "/shop.Cart/Put": grpc.stream_unary_rpc_method_handler(self.put),
            "/shop.Cart/Chat": grpc.stream_stream_rpc_method_handler(self.chat),
            "/shop.Cart/Fail": grpc.unary_unary_rpc_method_handler(self.fail),
        }
        return made.get(details.method)

    def got(self, method: str, requests: int, octets: int, context: Any) -> None:
        mine = dict(context.invocation_metadata()).get("x-mine", "0")
        print(f"{method} {requests} {octets} {mine}\n", end="", flush=True)  # one write: calls run at once

    def get(self, request: bytes, context: Any) -> bytes:
        self.got("get", 1, len(request), context)
        context.set_trailing_metadata((("x-from", self.name.decode()),))
        return self.name + b" " + request

    def list(self, request: bytes, context: Any) -> Iterator[bytes]:
        self.got("list", 1, len(request), context)
        yield from (self.name + b" %d" % i for i in range(int(request)))

    def put(self, requests: Iterator[bytes], context: Any) -> bytes:
        sizes = [len(request) for request in requests]
        self.got("put", len(sizes), sum(sizes), context)
        return self.name + b" %d" % sum(sizes)

    def chat(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        sizes = []
        for request in requests:
            sizes.append(len(request))
            yield self.name + b" " + request
        self.got("chat", len(sizes), sum(sizes), context)

    def fail(self, request: bytes, context: Any) -> bytes:
        self.got("fail", 1, len(request), context)
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"{self.name.decode()}: the cart is empty")
        return b""


def serve(name: str, port: str) -> None:
    """Until its standard input ends; says ``ready`` before."""
    server = grpc.server(futures.ThreadPoolExecutor(8), handlers=[Cart(name)])
    assert server.add_insecure_port(f"0.0.0.0:{port}") == int(port)
    server.start()
    print("ready", flush=True)
    sys.stdin.read()
    server.stop(0)


class Chat:
    """A bidirectional stream: one message, one answer."""

    def __init__(self, channel: Any, metadata: Any) -> None:
        self.says: SimpleQueue[bytes | None] = SimpleQueue()
        self.heard = channel.stream_stream("/shop.Cart/Chat")(iter(self.says.get, None), metadata=metadata)

    def say(self, octets: bytes) -> bytes:
        self.says.put(octets)
        answer: bytes = next(self.heard)
        return answer

    def end(self) -> None:
        self.says.put(None)
        assert list(self.heard) == []
        assert self.heard.code() is grpc.StatusCode.OK


def ask_each(channel: Any, who: bytes, metadata: Any, big: int) -> None:
    """One call of each kind, to whom they must go, some of so many octets."""
    block = bytes(range(256)) * (big // 256)
    answer, call = channel.unary_unary("/shop.Cart/Get").with_call(b"one", metadata=metadata, timeout=20)
    assert answer == who + b" one"
    assert call.trailing_metadata()[0][1] == who.decode()
    large = channel.unary_unary("/shop.Cart/Get")(block, metadata=metadata, timeout=20)
    assert large == who + b" " + block
    listed = list(channel.unary_stream("/shop.Cart/List")(b"50", metadata=metadata, timeout=20))
    assert listed == [who + b" %d" % i for i in range(50)]
    put = channel.stream_unary("/shop.Cart/Put")(iter([block] * 3), metadata=metadata, timeout=20)
    assert put == who + b" %d" % (3 * len(block))
    failed = channel.unary_unary("/shop.Cart/Fail").future(b"", metadata=metadata, timeout=20)
    assert failed.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert failed.details() == f"{who.decode()}: the cart is empty"


def ask(address: str, port: str, mine: str = "app", big: str = str(BIG)) -> None:
    """All of it on one connection, two chats open all the while; says ``ok``. ``mine`` answers what is sent so."""
    options = [("grpc.max_receive_message_length", 4 << 20)]
    with grpc.insecure_channel(f"{address}:{port}", options=options) as channel:
        parties = [(b"target", None), (mine.encode(), MINE)]
        chats = [Chat(channel, metadata) for _, metadata in parties]
        for turn in range(5):
            for chat, (who, metadata) in zip(chats, parties, strict=True):
                assert chat.say(b"%d" % turn) == who + b" %d" % turn
                ask_each(channel, who, metadata, int(big))
        for chat in chats:
            chat.end()
        cancelled = Chat(channel, MINE)
        assert cancelled.say(b"x") == mine.encode() + b" x"
        cancelled.heard.cancel()
        ask_each(channel, mine.encode(), MINE, int(big))
    print("ok", flush=True)


if __name__ == "__main__":
    {"serve": serve, "ask": ask}[sys.argv[1]](*sys.argv[2:])
