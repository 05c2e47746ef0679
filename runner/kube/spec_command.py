"""What the target's container runs, where, and on which ports it says to listen: the spec over the image's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.errors import Refusal
from runner.kube.expansion import expanded
from wire.messages import Port, Proto

Json = dict[str, Any]

_PROTOS = {"TCP": Proto.TCP, "UDP": Proto.UDP}


def command_of(
    spec: Json, image: Mapping[str, Any] | None, known: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """The argv. ``spec`` is the container's, ``image`` the image's configuration (Entrypoint, Cmd), ``known`` the
    variables that $(NAME) may name. A command replaces the image's Entrypoint and Cmd, arguments its Cmd alone
    (kubernetes.io/docs/tasks/inject-data-application/define-command-argument-container). Refusal if there is none."""
    image, known = image or {}, known or {}
    command, arguments = (
        [expanded(word, known) for word in spec.get(key) or ()] for key in ("command", "args")
    )
    if not command:
        command = _words(image.get("Entrypoint"))
        arguments = arguments or _words(image.get("Cmd"))
    if not (found := (*command, *arguments)):
        raise Refusal(
            f"what container {spec['name']} runs is said by its image alone, which is not here",
            "say what to run: mirror-run TARGET -- COMMAND",
        )
    return found


def working_directory(spec: Json, image: Mapping[str, Any] | None) -> str:
    """Where its command begins."""
    return str(spec.get("workingDir") or (image or {}).get("WorkingDir") or "/")


def declared(spec: Json) -> tuple[Port, ...]:
    """The ports that it names; SCTP is nobody's here."""
    ports = spec.get("ports") or ()
    return tuple(
        Port(int(_PROTOS[one.get("protocol") or "TCP"]), int(one["containerPort"]))
        for one in ports
        if (one.get("protocol") or "TCP") in _PROTOS
    )


def _words(found: Any) -> list[str]:
    return [found] if isinstance(found, str) else list(found or ())
