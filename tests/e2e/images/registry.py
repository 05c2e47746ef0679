"""A registry as far as a push needs one (OCI Distribution Specification 1.1, "Push"), on loopback, with or without a
password. Blobs are hashed and measured, not kept.
"""

from __future__ import annotations

import base64
import hashlib
import re
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

CHUNK = 1 << 20


@dataclass
class Registry:
    """``blobs``: digest to octets; ``manifests``: "NAME:REFERENCE" (tag or digest) to (type, content)."""

    password: str = ""
    tokens: bool = False
    """The password is not taken by the registry itself, but by a server of tokens (its /token)."""
    host: str = ""
    blobs: dict[str, int] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    uploads: dict[str, Any] = field(default_factory=dict)

    @property
    def credentials(self) -> str:
        return base64.b64encode(f"anna:{self.password}".encode()).decode()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    registry: Registry

    def log_message(self, *words: Any) -> None:
        """Nobody reads it."""

    def do_GET(self) -> None:
        self._serve()

    do_HEAD = do_POST = do_PATCH = do_PUT = do_GET  # noqa: N815 - http.server's names

    def _serve(self) -> None:
        path = urlsplit(self.path).path
        if (
            self.registry.password
            and self.headers.get("Authorization") != f"Basic {self.registry.credentials}"
        ):
            self._drain()
            self._answer(401, {"WWW-Authenticate": 'Basic realm="test"'})
        elif path == "/v2/":
            self._answer(200, {"Docker-Distribution-API-Version": "registry/2.0"})
        elif found := re.fullmatch(r"/v2/(.+)/blobs/uploads/(.*)", path):
            self._upload(found[1], found[2])
        elif found := re.fullmatch(r"/v2/.+/blobs/(.+)", path):
            size = self.registry.blobs.get(found[1])
            self._answer(404 if size is None else 200, {}, length=size or 0)
        elif found := re.fullmatch(r"/v2/(.+)/manifests/(.+)", path):
            self._manifest(*found.groups())
        else:
            self._answer(404)

    def _upload(self, name: str, session: str) -> None:
        if self.command == "POST":
            self._drain()
            session = uuid.uuid4().hex
            self.registry.uploads[session] = [hashlib.sha256(), 0]
            self._answer(202, {"Location": f"/v2/{name}/blobs/uploads/{session}"})
            return
        state = self.registry.uploads[session]
        for octets in self._body():
            state[0].update(octets)
            state[1] += len(octets)
        if self.command == "PATCH":
            where = {"Location": f"/v2/{name}/blobs/uploads/{session}", "Range": f"0-{max(state[1] - 1, 0)}"}
            self._answer(202, where)
            return
        digest = f"sha256:{state[0].hexdigest()}"
        assert parse_qs(urlsplit(self.path).query)["digest"] == [digest]
        self.registry.blobs[digest] = state[1]
        self._answer(201, {"Docker-Content-Digest": digest, "Location": f"/v2/{name}/blobs/{digest}"})

    def _manifest(self, name: str, reference: str) -> None:
        if self.command == "PUT":
            content = b"".join(self._body())
            digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
            for key in (f"{name}:{reference}", f"{name}:{digest}"):
                self.registry.manifests[key] = (self.headers["Content-Type"], content)
            self._answer(201, {"Docker-Content-Digest": digest})
        elif (found := self.registry.manifests.get(f"{name}:{reference}")) is None:
            self._answer(404)
        else:
            kind, content = found
            digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
            self._answer(200, {"Content-Type": kind, "Docker-Content-Digest": digest}, content, len(content))

    def _body(self) -> Iterator[bytes]:
        if self.headers.get("Transfer-Encoding", "") == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers.get("Content-Length") or 0)
        while left:
            octets = self.rfile.read(min(left, CHUNK))
            left -= len(octets)
            yield octets

    def _drain(self) -> None:
        for _ in self._body():
            pass

    def _answer(
        self, status: int, headers: dict[str, str] | None = None, content: bytes = b"", length: int = 0
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


@contextmanager
def serving(password: str = "", *, tokens: bool = False) -> Iterator[Registry]:
    """Engines take 127.0.0.0/8 without TLS."""
    registry = Registry(password, tokens)
    handler = type("Bound", (Handler,), {"registry": registry})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        registry.host = f"127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), name="registry")
        thread.start()
        yield registry
        server.shutdown()
        thread.join()
