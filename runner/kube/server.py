"""The way to one API server: its address, TLS, proxy, and the headers that say who asks. For calls and streams."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import ssl
from asyncio.sslproto import _SSLProtocolTransport as SSLTransport
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from runner.kube.credentials import Credential, Credentials
from runner.kube.errors import KubeError
from runner.kube.proxies import proxy_for
from runner.kube.sockets import connected, keep_alive
from runner.kube.trust import Trust
from wire.record import record

Json = dict[str, Any]

CONNECT_TIME = 20.0
"""Seconds for TCP, proxy and TLS together. kubectl waits 30 for TCP alone."""
LAST_WORDS = 1.0
"""Seconds for what a closed stream has still to send, when the whole way ends."""
LIMIT = 262_144
"""Octets that a connection reads ahead, twice at most."""


@record
class Address:
    """``prefix`` is the path before /api (a management plane's), without a slash at its end."""

    host: str
    port: int
    secure: bool
    prefix: str

    @property
    def authority(self) -> str:
        """As of the Host header (RFC 9110, 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"


class Stream(Protocol):
    """A connection that outlives the call that dialled it. ``gone`` is done when it has no socket any more."""

    gone: asyncio.Future[None]

    def is_closing(self) -> bool: ...
    def abort(self) -> None: ...


class Server:
    """One API server as one user. ``url`` is as the kubeconfig says it."""

    def __init__(
        self,
        cluster: Json,
        credentials: Credentials,
        environ: Mapping[str, str],
        impersonated: tuple[tuple[str, str], ...] = (),
        agent: str = "mirror-run",
    ) -> None:
        self.url = _with_scheme(str(cluster["server"]), cluster)
        self.address = _address(self.url)
        self.proxy = _proxy(str(cluster.get("proxy-url") or "") or proxy_for(self.url, environ))
        self.credentials = credentials
        self._cluster = cluster
        self._fixed = (("Host", self.address.authority), ("User-Agent", agent), *impersonated)
        self._trust = Trust(cluster, self.url)
        self._streams: set[Stream] = set()

    @property
    def server_name(self) -> str:
        """What the server's certificate must be for."""
        return str(self._cluster.get("tls-server-name") or self.address.host)

    def headers(self, credential: Credential) -> list[tuple[str, str]]:
        authorization = [("Authorization", credential.authorization)] if credential.authorization else []
        return [*self._fixed, *authorization]

    def tls(self, credential: Credential) -> ssl.SSLContext | None:
        """The context for this credential's certificate; None for plain HTTP."""
        if not self.address.secure:
            return None
        return self._trust.of_server(credential)

    @property
    def proxy_tls(self) -> ssl.SSLContext | None:
        """The context for a proxy that speaks TLS itself; else None."""
        return self._trust.of_proxy() if urlsplit(self.proxy).scheme == "https" else None

    def keep(self, stream: Stream) -> None:
        """``end_streams`` is to end it."""
        self._streams.add(stream)
        stream.gone.add_done_callback(lambda _: self._streams.discard(stream))

    async def end_streams(self) -> None:
        """None has a socket afterwards. What is being closed has LAST_WORDS to say what it still holds."""
        if closing := [stream.gone for stream in self._streams if stream.is_closing()]:
            await asyncio.wait(closing, timeout=LAST_WORDS)
        for stream in self._streams:
            stream.abort()
        if left := [stream.gone for stream in self._streams]:
            await asyncio.wait(left, timeout=LAST_WORDS)

    async def dial(self, credential: Credential) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to it, through the proxy where there is one. KubeError (status 0) with the next step."""
        context = self.tls(credential)
        try:
            async with asyncio.timeout(CONNECT_TIME):
                reader, writer = await (
                    self._through_proxy(context) if self.proxy else self._straight(context)
                )
        except TimeoutError:
            raise self.unreachable(f"no answer within {CONNECT_TIME:.0f} s") from None
        except (OSError, EOFError) as error:  # ssl.SSLError is an OSError
            raise self.explained(error) from error
        keep_alive(writer.get_extra_info("socket"))
        return reader, writer

    async def _straight(
        self, context: ssl.SSLContext | None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        sock = await connected(self.address.host, self.address.port)
        name = self.server_name if context else None
        return await asyncio.open_connection(sock=sock, ssl=context, server_hostname=name, limit=LIMIT)

    async def _through_proxy(
        self, context: ssl.SSLContext | None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        proxy = urlsplit(self.proxy)
        if proxy.scheme in ("http", "https"):
            reader, writer = await self._connect_method()
            if context is not None:
                _let_fail(writer.transport)
                try:
                    await writer.start_tls(context, server_hostname=self.server_name)
                except BaseException:
                    with suppress(AttributeError):  # Python 3.11.2: one that failed has no protocol to tell
                        writer.transport.abort()
                    raise
            return reader, writer
        from python_socks import ProxyError
        from python_socks.async_.asyncio import Proxy

        try:
            sock = await Proxy.from_url(self.proxy).connect(self.address.host, self.address.port)
        except (ProxyError, ValueError) as error:
            raise self.unreachable(f"the proxy {_shown(self.proxy)}: {error}") from error
        name = self.server_name if context else None
        return await asyncio.open_connection(sock=sock, ssl=context, server_hostname=name, limit=LIMIT)

    async def _connect_method(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """RFC 9110, 9.3.6. With plain HTTP servers too: a forward needs the same connection both ways."""
        proxy = urlsplit(self.proxy)
        assert proxy.hostname is not None  # _proxy has seen it
        tls = self.proxy_tls
        sock = await connected(proxy.hostname, proxy.port or (443 if tls else 80))
        try:
            reader, writer = await asyncio.open_connection(
                sock=sock, ssl=tls, server_hostname=proxy.hostname if tls else None, limit=LIMIT
            )
        except ssl.SSLCertVerificationError as error:
            raise self._not_trusted(_shown(self.proxy), error) from error
        try:
            host = f"[{self.address.host}]" if ":" in self.address.host else self.address.host
            lines = [f"CONNECT {host}:{self.address.port} HTTP/1.1", f"Host: {host}:{self.address.port}"]
            if proxy.username:
                pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}".encode()
                lines.append(f"Proxy-Authorization: Basic {base64.b64encode(pair).decode()}")
            writer.write("\r\n".join([*lines, "", ""]).encode())
            head = await reader.readuntil(b"\r\n\r\n")
            self._check_connected(head)
        except BaseException:
            writer.transport.abort()
            raise
        return reader, writer

    def _check_connected(self, head: bytes) -> None:
        status = head.split(b"\r\n", 1)[0].split(b" ", 2)
        if len(status) < 2 or not status[1].startswith(b"2"):
            said = b" ".join(status[1:]).decode(errors="replace")
            raise self.unreachable(f"the proxy {_shown(self.proxy)} answered {said!r}")

    def explained(self, error: BaseException) -> KubeError:
        """Why no connection could be made, for whom it stopped."""
        if isinstance(error, ssl.SSLCertVerificationError):
            return self._not_trusted(self.url, error)
        if isinstance(error, ssl.SSLError):
            return self.unreachable(f"TLS: {error.reason or error}")
        if isinstance(error, asyncio.IncompleteReadError | EOFError):
            return self.unreachable("the connection was closed")
        if isinstance(error, socket.gaierror):
            return self.unreachable(f"its name is not known: {error.strerror}")
        if isinstance(error, OSError) and error.errno and error.errno > 0:
            return self.unreachable(os.strerror(error.errno))
        return self.unreachable(str(error) or type(error).__name__)

    def _not_trusted(self, whose: str, error: ssl.SSLCertVerificationError) -> KubeError:
        proxys = whose != self.url
        return KubeError(
            0,
            "",
            f"the certificate of {'the proxy ' if proxys else ''}{whose} is not to be trusted: "
            f"{error.verify_message or error}",
            "install its authority on this machine, or name it in SSL_CERT_FILE"
            if proxys
            else "compare certificate-authority-data and tls-server-name of the kubeconfig with what you were given",
        )

    def unreachable(self, why: str) -> KubeError:
        through = f" (through the proxy {_shown(self.proxy)})" if self.proxy and "proxy" not in why else ""
        return KubeError(
            0,
            "",
            f"the API server at {self.url}{through} cannot be reached: {why}",
            "is the cluster up, and are you in its network (VPN)? `kubectl version` should fail alike; "
            "--context chooses another",
        )


_MEND = "mend the kubeconfig"


def _let_fail(below: asyncio.WriteTransport) -> None:
    """A TLS handshake on top of asyncio's TLS that fails never ends before Python 3.11.8 (CPython, gh-113214): the
    transport below cannot be told of an error. It can be aborted."""
    if isinstance(below, SSLTransport):
        below._force_close = lambda _: below.abort()  # type: ignore[attr-defined]  # noqa: SLF001


def _with_scheme(url: str, cluster: Json) -> str:
    """Without one, kubectl takes https where there is anything about certificates."""
    if "://" in url:
        return url.rstrip("/")
    certified = any(key in cluster for key in ("certificate-authority", "certificate-authority-data"))
    return ("https://" if certified or cluster.get("insecure-skip-tls-verify") else "http://") + url.rstrip(
        "/"
    )


def _address(url: str) -> Address:
    wrong = KubeError(0, "", f"{url!r} is no address of an API server", _MEND)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise wrong from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise wrong
    secure = parts.scheme == "https"
    return Address(parts.hostname, port or (443 if secure else 80), secure, parts.path.rstrip("/"))


def _proxy(url: str) -> str:
    """As the libraries below know it: their socks5 asks the proxy for names, which others call socks5h."""
    if not url:
        return ""
    url = url.replace("socks5h://", "socks5://", 1)
    if urlsplit(url).scheme not in ("http", "https", "socks5") or not urlsplit(url).hostname:
        raise KubeError(
            0,
            "",
            f"{_shown(url)} is no proxy that can be used",
            "proxy-url and HTTPS_PROXY know http, https and socks5",
        )
    return url


def _shown(proxy: str) -> str:
    """Without its password."""
    parts = urlsplit(proxy)
    return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
