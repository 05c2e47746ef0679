"""Ports as the user and the image write them, as the bridge wants them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from runner.errors import Refusal
from wire.messages import AppPort, Port, Proto

_MAPPED = re.compile(r"(\d{1,5}):(\d{1,5})(?:/(tcp|udp))?")
_EXPOSED = re.compile(r"(\d{1,5})/(tcp|udp)")
_PROTOS = {"tcp": Proto.TCP, "udp": Proto.UDP}


def mapped(texts: Iterable[str]) -> tuple[AppPort, ...]:
    """--map-port APP:TARGET[/udp]: what reaches the target's port goes to the app's, whether or not the
    target listens."""
    return tuple(_mapped(text) for text in texts)


def _mapped(text: str) -> AppPort:
    found = _MAPPED.fullmatch(text)
    if not found or not all(0 < int(found[i]) < 65536 for i in (1, 2)):
        raise Refusal(
            f"--map-port {text}: no pair of ports", "write APP:TARGET, for example --map-port 3000:80"
        )
    return AppPort(int(_PROTOS[found[3] or "tcp"]), int(found[1]), int(found[2]), declared=True)


def declared(exposed: dict[str, Any] | None) -> tuple[Port, ...]:
    """The ports that a container's configuration names ("80/tcp" as its ExposedPorts have them)."""
    found = (_EXPOSED.fullmatch(text) for text in exposed or {})
    return tuple(Port(int(_PROTOS[port[2]]), int(port[1])) for port in found if port)


def shown(ports: Iterable[AppPort]) -> str:
    """For people: "8080, 5353/udp, 80 (the app's 3000)"."""
    return ", ".join(_shown(port) for port in ports)


def _shown(port: AppPort) -> str:
    proto = "/udp" if port.proto == Proto.UDP else ""
    return f"{port.target}{proto}" + (f" (the app's {port.app})" if port.app != port.target else "")


def published(texts: Iterable[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """-p as docker has it, as (ExposedPorts, PortBindings) of the Engine API."""
    from docker.utils.ports import split_port

    bindings: dict[str, list[dict[str, str]]] = {}
    for text in texts:
        try:
            inside, outside = split_port(text)
        except ValueError as error:
            raise Refusal(
                f"-p {text}: {error}", "write [HOST-IP:][HOST-PORT:]PORT[/udp], as for docker"
            ) from error
        for i, port in enumerate(inside):
            key = port if "/" in port else f"{port}/tcp"
            bindings.setdefault(key, []).append(_binding(outside[i] if outside else None))
    return {key: {} for key in bindings}, bindings


def _binding(outside: str | tuple[str, str | None] | None) -> dict[str, str]:
    match outside:
        case None:
            return {"HostPort": ""}
        case (address, port):
            return {"HostIp": address, "HostPort": (port or "").split("/")[0]}
        case str():
            return {"HostPort": outside.split("/")[0]}
