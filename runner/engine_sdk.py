"""The Docker SDK, for what it alone does: images built, pulled, pushed and loaded, with docker's own credentials.

The only file that imports it (100 ms), and only when one of these is wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import field
from typing import Any, TypeVar

from runner.contexts import Endpoint
from runner.engine_http import CALL_TIMEOUT, Refused
from wire.record import record

T = TypeVar("T")


def client(endpoint: Endpoint) -> Any:
    """Its low-level client of this engine, which has answered already. OSError, Refused."""
    import docker
    import docker.tls

    tls: Any = False
    if endpoint.ca or endpoint.cert:
        pair = (endpoint.cert, endpoint.key) if endpoint.cert else None
        tls = docker.tls.TLSConfig(client_cert=pair, ca_cert=endpoint.ca or None, verify=endpoint.verify)
    return translated(
        lambda: docker.APIClient(
            endpoint.url, version="auto", timeout=int(CALL_TIMEOUT), tls=tls, use_ssh_client=True
        )
    )


def translated(call: Callable[[], T]) -> T:
    """The call's value; its errors as those of ``runner.engine_http``."""
    import docker.errors
    import requests.exceptions

    try:
        return call()
    except docker.errors.APIError as error:
        raise Refused(error.status_code or 0, error.explanation or str(error)) from error
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        raise OSError(str(error)) from error


def pull(api: Any, image: str, platform: str) -> Iterator[Any]:
    """The engine's words about each layer."""
    found: Iterator[Any] = api.pull(image, stream=True, decode=True, platform=platform or None)
    return found


def build(api: Any, folder: str, dockerfile: str, tag: str, platform: str) -> Iterator[Any]:
    """As `docker build` with the classic builder does; the engine's words about it."""
    found: Iterator[Any] = api.build(
        path=folder, tag=tag, rm=True, decode=True, dockerfile=dockerfile or None, platform=platform or None
    )
    return found


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
