"""A connection to an engine, by whatever way its address names: a Unix socket, TCP, TLS, or ssh as docker's own client
goes (``docker system dial-stdio`` on the other machine). And a sentence for each way in which none is to be had.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import ssl
import subprocess
import threading
from urllib.parse import SplitResult, urlsplit

from runner.contexts import Endpoint
from runner.errors import Refusal

CONNECT_TIME = 20.0
"""Seconds until another machine is given up. ssh has its own limit."""

PLAIN, SECURE = 2375, 2376
"""Docker's ports, where an address names none."""

CHECK_ADDRESS = "an engine's address is unix:///PATH, tcp://HOST:PORT or ssh://[USER@]HOST"


class Dialler:
    """Makes connections to one engine; blocking. OSError (ssl.SSLError is one) when none can be made."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._parts = _parts(endpoint)
        self._tls = _context(endpoint) if self._secure else None

    @property
    def host(self) -> str:
        """For the Host header. A Unix socket has none, and Go's server wants one."""
        return self._parts.netloc.rpartition("@")[2] or "docker"

    @property
    def _secure(self) -> bool:
        named = self.endpoint.ca or self.endpoint.cert or not self.endpoint.verify
        return self._parts.scheme == "https" or (self._parts.scheme == "tcp" and bool(named))

    def dial(self) -> socket.socket:
        """A connection; its time limit is the caller's to set."""
        match self._parts.scheme:
            case "unix":
                sock = socket.socket(socket.AF_UNIX)
                try:
                    sock.connect(self._parts.path)
                except BaseException:
                    sock.close()
                    raise
                return sock
            case "ssh":
                return self._through_ssh()
            case _:
                return self._across()

    def _across(self) -> socket.socket:
        host = self._parts.hostname or ""
        port = self._parts.port or (SECURE if self._tls else PLAIN)
        sock = socket.create_connection((host, port), CONNECT_TIME)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is None:
            return sock
        try:
            return self._tls.wrap_socket(sock, server_hostname=host)
        except BaseException:
            sock.close()
            raise

    def _through_ssh(self) -> socket.socket:
        """Keys, hosts and questions are ssh's own business; it has our terminal for these."""
        ours, theirs = socket.socketpair()
        words = ["ssh", "-o", "ConnectTimeout=30", "-T"]
        words += ["-l", self._parts.username] if self._parts.username else []
        words += ["-p", str(self._parts.port)] if self._parts.port else []
        words += ["--", self._parts.hostname or "", "docker", "system", "dial-stdio"]
        try:
            # Ctrl-C is the app's: it must not take the way to its engine.
            both = theirs.fileno()
            child = subprocess.Popen(words, stdin=both, stdout=both, preexec_fn=_without_interrupts)  # noqa: PLW1509
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        threading.Thread(target=child.wait, name="ssh", daemon=True).start()  # it ends with the connection
        return ours


def _without_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _parts(endpoint: Endpoint) -> SplitResult:
    wrong = Refusal(f"{endpoint.url} ({endpoint.said_by}) is no address of an engine", CHECK_ADDRESS)
    url = endpoint.url if "://" in endpoint.url else f"tcp://{endpoint.url}"
    try:
        parts = urlsplit(url.removeprefix("http+"))
        _ = parts.port
    except ValueError:
        raise wrong from None
    known = {"unix": parts.path, "ssh": parts.hostname}
    if not known.get(parts.scheme, parts.hostname if parts.scheme in ("tcp", "http", "https") else None):
        raise wrong
    return parts


def _context(endpoint: Endpoint) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=endpoint.ca or None)
        if not endpoint.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if endpoint.cert:
            context.load_cert_chain(endpoint.cert, endpoint.key or None)
    except OSError as error:
        files = ", ".join(one for one in (endpoint.ca, endpoint.cert, endpoint.key) if one)
        raise Refusal(
            f"the certificates for the engine at {endpoint.url} ({files}) cannot be used: {error.strerror or error}",
            "check DOCKER_CERT_PATH, or the docker context",
        ) from error
    return context


def unreachable(endpoint: Endpoint, error: OSError) -> Refusal:
    """Why no connection could be made, and what to do."""
    where = f"{endpoint.url} ({endpoint.said_by})"
    if isinstance(error, PermissionError):
        return Refusal(
            f"no permission to use the engine at {where}",
            f"add yourself to the group of its socket (`sudo usermod -aG docker {_user_name()}`, then log in "
            "again), or use a rootless engine",
        )
    if error.errno in (errno.ENOENT, errno.ECONNREFUSED):
        return Refusal(
            f"no container engine answers at {where}",
            "start it (`sudo systemctl start docker`, Docker Desktop, `colima start`), or name another with "
            "DOCKER_HOST",
        )
    if isinstance(error, ssl.SSLCertVerificationError):
        return Refusal(
            f"the certificate of the engine at {where} is not to be trusted: {error.verify_message}",
            "check DOCKER_CERT_PATH",
        )
    if isinstance(error, ssl.SSLError):
        return Refusal(f"the engine at {where} refuses our TLS: {error.reason}", "check DOCKER_CERT_PATH")
    if isinstance(error, TimeoutError):
        return Refusal(f"the engine at {where} does not answer", "`docker info` should fail alike; is it up?")
    return Refusal(
        f"the engine at {where} cannot be used: {error.strerror or error}", "`docker info` should say more"
    )


def _user_name() -> str:
    try:
        return os.getlogin()
    except OSError:
        return "$USER"
