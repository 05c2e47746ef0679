"""The Docker SDK: the client of one engine, or why there is none; its errors as ours; whose account docker has.

The only file that imports it, but for what reads -p (100 ms: it is imported when an engine is needed, so that --help
is quick).
"""

from __future__ import annotations

import errno
import os
import ssl
from collections.abc import Callable, Iterator
from dataclasses import field
from typing import Any

from runner.contexts import Endpoint
from runner.errors import Refusal
from wire.record import record

CALL_TIMEOUT = 120
"""Seconds of silence after which a call is given up (a start on a slow disk takes 10)."""


class EngineError(Exception):
    """The engine said no. ``status`` is HTTP's; 0 when the connection itself failed."""

    def __init__(self, sentence: str, status: int = 0) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.status = status

    @property
    def missing(self) -> bool:
        return self.status == 404

    @property
    def conflict(self) -> bool:
        return self.status == 409


def client(endpoint: Endpoint) -> Any:
    """The low-level one, of an engine that answered. Refusal: it does not, or may not be used. Blocks."""
    import docker
    import docker.tls

    tls: Any = False
    if endpoint.ca or endpoint.cert:
        pair = (endpoint.cert, endpoint.key) if endpoint.cert else None
        tls = docker.tls.TLSConfig(client_cert=pair, ca_cert=endpoint.ca or None, verify=endpoint.verify)
    try:
        return docker.APIClient(
            endpoint.url, version="auto", timeout=CALL_TIMEOUT, tls=tls, use_ssh_client=True, max_pool_size=32
        )
    except docker.errors.DockerException as error:
        raise _no_engine(endpoint, error) from error


def _no_engine(endpoint: Endpoint, error: BaseException) -> Refusal:
    where = f"{endpoint.url} ({endpoint.said_by})"
    for cause in _causes(error):
        if isinstance(cause, PermissionError):
            return Refusal(
                f"no permission to use the engine at {where}",
                f"add yourself to the group of its socket (`sudo usermod -aG docker {_user_name()}`, then log in "
                "again), or use a rootless engine",
            )
        if isinstance(cause, OSError) and cause.errno in (errno.ENOENT, errno.ECONNREFUSED):
            return Refusal(
                f"no container engine answers at {where}",
                "start it (`sudo systemctl start docker`, Docker Desktop, `colima start`), or name another with "
                "DOCKER_HOST",
            )
        if isinstance(cause, ssl.SSLError):
            return Refusal(f"the engine at {where} refuses our TLS: {cause.reason}", "check DOCKER_CERT_PATH")
    return Refusal(f"the engine at {where} cannot be used: {error}", "`docker info` should say more")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and all it was made from: requests and urllib3 hide the first cause in ``args`` as well."""
    seen: set[int] = set()
    todo = [error]
    while todo:
        one = todo.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        inner = [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
        todo += [part for part in inner if isinstance(part, BaseException)]


def _user_name() -> str:
    try:
        return os.getlogin()
    except OSError:
        return "$USER"


def translated(call: Callable[[], Any]) -> Any:
    """The call's value; what the SDK raises becomes an EngineError."""
    import docker.errors
    import requests.exceptions

    try:
        return call()
    except docker.errors.APIError as error:
        raise EngineError(error.explanation or str(error), error.status_code or 0) from error
    except (docker.errors.DockerException, requests.exceptions.RequestException, OSError) as error:
        raise EngineError(f"the engine does not answer: {error}") from error


@record
class Account:
    """At a registry, as `docker login` keeps it."""

    user: str
    password: str = field(repr=False)


def account(registry: str) -> Account | None:
    """Whose account `docker` uses at this registry (its config.json and credential helpers); None without one."""
    import docker.auth

    found = docker.auth.load_config().resolve_authconfig(registry) or {}
    user, password = (
        found.get("Username") or found.get("username"),
        found.get("Password") or found.get("password"),
    )
    return Account(user, password) if user and password else None
