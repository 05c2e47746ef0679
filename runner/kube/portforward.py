"""One connection to a port of a pod, dialled through the API server: asyncio streams, or a transport without them.

picows carries the WebSocket (its TLS and its masking are C: docs/benchmarks.md), forward_core the port-forward.
Half-close does not cross: an end of either side is the end of both. Nothing says that the pod's port was reached; that
nobody listens there comes as a ConnectionRefusedError when something is read.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from typing import Any
from urllib.parse import urlencode

from picows import WSAutoPingStrategy, WSError, WSHandshakeError, ws_connect
from picows.url import WSParsedURL
from python_socks import ProxyError

from runner.kube.api import Cluster
from runner.kube.credentials import Credential
from runner.kube.errors import KubeError, of_answer
from runner.kube.forward_core import SPDY, V4
from runner.kube.forward_transport import ForwardTransport, Listener
from runner.kube.server import Server
from runner.kube.sockets import connected
from wire.record import record

log = logging.getLogger(__name__)

OFFERED = (SPDY, V4)
"""In the order of preference; servers before 1.31 know the second alone."""
OPEN_TIME = 20.0
"""Seconds until the far end has taken the request: TCP, TLS, and the kubelet's part."""
READ_BUFFER = 262_144
PING_AFTER = 30.0
"""Seconds of silence after which a ping goes out, so that no load balancer takes the connection for idle."""
PONG_WITHIN = 30.0
"""Seconds. Long, since a pong waits behind the data that the pod has not taken; links have a heartbeat of their own."""


@record
class Forward:
    """Streams as of asyncio.open_connection; ``writer.close()`` ends it, ``writer.transport.abort()`` at once."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


async def forward(cluster: Cluster, namespace: str, pod: str, port: int) -> Forward:
    """A connection to 127.0.0.1:``port`` as the pod has it. KubeError when the API server, or the node, gives none."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=READ_BUFFER)
    protocol = asyncio.StreamReaderProtocol(reader)
    transport = await open_transport(cluster, namespace, pod, port, protocol)
    return Forward(reader, asyncio.StreamWriter(transport, protocol, reader, loop))


async def open_transport(
    cluster: Cluster, namespace: str, pod: str, port: int, protocol: asyncio.Protocol
) -> ForwardTransport:
    """As ``forward``, for a protocol of the caller's, without streams between."""
    server = cluster.way
    path = f"/api/v1/namespaces/{namespace}/pods/{pod}/portforward?{urlencode({'ports': port})}"
    refused: Credential | None = None
    while True:
        credential = await server.credentials.current(refused=refused)
        try:
            async with asyncio.timeout(OPEN_TIME):
                return await _open(server, credential, path, port, protocol)
        except TimeoutError:
            raise server.unreachable(f"no port-forward to {pod} within {OPEN_TIME:.0f} s") from None
        except KubeError as error:
            if not error.unauthorized or refused is not None or not server.credentials.renewable:
                raise
            refused = credential


async def _open(
    server: Server, credential: Credential, path: str, port: int, protocol: asyncio.Protocol
) -> ForwardTransport:
    transport = ForwardTransport(port, protocol)
    options: dict[str, Any] = {"server_hostname": server.server_name} if server.address.secure else {}
    ours: list[socket.socket] = []

    async def dialled(url: WSParsedURL) -> socket.socket:
        """Of the API server, or of the proxy."""
        sock = await connected(url.host, url.port)
        ours.append(sock.dup())
        return sock

    try:
        await ws_connect(
            lambda: Listener(transport),
            f"ws{server.url.removeprefix('http')}{path}",
            ssl_context=server.tls(credential),
            extra_headers=[*server.headers(credential), ("Sec-WebSocket-Protocol", ", ".join(OFFERED))],
            proxy=server.proxy or None,
            proxy_ssl_context=server.proxy_tls,
            max_redirects=0,
            socket_factory=dialled,
            websocket_handshake_timeout=OPEN_TIME,
            read_buffer_init_size=READ_BUFFER,
            enable_auto_ping=True,
            auto_ping_idle_timeout=PING_AFTER,
            auto_ping_reply_timeout=PONG_WITHIN,
            auto_ping_strategy=WSAutoPingStrategy.PING_WHEN_IDLE,
            logger_name=log,
            **options,
        )
    except BaseException as error:
        transport.abort()
        # picows leaves a handshake that was cancelled to itself: its socket's end is what ends it.
        for sock in ours:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        if (told := _translated(server, path, error)) is not None:
            raise told from error
        raise
    finally:
        for sock in ours:
            sock.close()
        if transport.opened:
            server.keep(transport)
    return transport


def _translated(server: Server, path: str, error: BaseException) -> KubeError | None:
    match error:
        case WSHandshakeError(response=response) if response is not None:
            return of_answer("GET", path, int(response.status), error.raw_body or b"")
        case ProxyError():
            return server.unreachable(f"the proxy: {error}")
        case WSError() | TimeoutError() | OSError() if not isinstance(error, TimeoutError):
            return server.explained(error)
        case _:
            return None
