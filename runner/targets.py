"""Which containers a target names: ``container/NAME``, ``compose/[PROJECT/]SERVICE``, or a bare name if only
one thing has it.

Pure: it judges the engine's list of containers and asks nothing.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

from runner.errors import Refusal, there_is
from runner.labels import ROLE
from wire.record import record

SERVICE = "com.docker.compose.service"
PROJECT = "com.docker.compose.project"
NUMBER = "com.docker.compose.container-number"
ONE_OFF = "com.docker.compose.oneoff"


@record
class Container:
    """One container of the engine's list. ``state`` as of the Engine API: running, exited, paused, …"""

    id: str
    name: str
    state: str
    image: str
    network_mode: str
    project: str = ""
    service: str = ""
    number: int = 0
    ports: tuple[str, ...] = ()


@record
class Target:
    """What was named: its running containers, the primary first. ``project`` and ``service`` are empty for a
    container."""

    name: str
    containers: tuple[Container, ...]
    project: str = ""
    service: str = ""

    def takes(self, name: str, labels: dict[str, str]) -> bool:
        """Whether a container that appears later, so named and labelled, is one of this target's."""
        if ROLE in labels:
            return False
        if self.service:
            mine = labels.get(PROJECT) == self.project and labels.get(SERVICE) == self.service
            return mine and labels.get(ONE_OFF, "False").lower() != "true"
        return name == self.containers[0].name


def listed(summaries: Iterable[dict[str, Any]]) -> list[Container]:
    """The engine's answer to "list containers", without our own and without compose's one-off runs."""
    found = []
    for summary in summaries:
        labels = summary.get("Labels") or {}
        if ROLE in labels or labels.get(ONE_OFF, "False").lower() == "true":
            continue
        found.append(_container(summary, labels))
    return sorted(
        found, key=lambda container: (container.project, container.service, container.number, container.name)
    )


def resolve(text: str, containers: Sequence[Container]) -> Target:
    """The target that ``text`` names. Refusal, with what was perhaps meant, if none, several, or one that
    does not run."""
    if not text.strip("/"):
        raise Refusal(
            "no target was named", "mirror-run TARGET -- COMMAND; `mirror-run ls` shows the targets there are"
        )
    kind, slash, rest = text.partition("/")
    match kind if slash else "":
        case "container":
            return _running(text, [c for c in containers if _is_named(c, rest)], containers)
        case "compose":
            return _service(text, rest, containers)
        case "":
            return _bare(text, containers)
        case _:
            raise Refusal(
                f"{kind}/… is not a kind of target that is known here",
                "container/NAME and compose/SERVICE are; `mirror-run ls` shows them",
            )


def _container(summary: dict[str, Any], labels: dict[str, str]) -> Container:
    names = [name.lstrip("/") for name in summary.get("Names") or [] if name.count("/") == 1]
    number = labels.get(NUMBER, "0")
    return Container(
        id=summary["Id"],
        name=names[0] if names else summary["Id"][:12],
        state=summary.get("State", ""),
        image=summary.get("Image", ""),
        network_mode=(summary.get("HostConfig") or {}).get("NetworkMode", ""),
        project=labels.get(PROJECT, ""),
        service=labels.get(SERVICE, ""),
        number=int(number) if number.isdecimal() else 0,
        ports=tuple(sorted({f"{port['PrivatePort']}/{port['Type']}" for port in summary.get("Ports") or []})),
    )


def _is_named(container: Container, name: str) -> bool:
    return container.name == name or (len(name) >= 8 and container.id.startswith(name))


def _service(text: str, rest: str, containers: Sequence[Container]) -> Target:
    project, _, service = rest.rpartition("/")
    of_service = [c for c in containers if c.service == service and project in ("", c.project)]
    projects = sorted({c.project for c in of_service})
    if len(projects) > 1:
        choices = ", ".join(f"compose/{one}/{service}" for one in projects)
        raise Refusal(
            f"{text} is ambiguous: {len(projects)} compose projects have it", f"name one of {choices}"
        )
    return _running(text, of_service, containers, projects[0] if projects else "", service)


def _bare(text: str, containers: Sequence[Container]) -> Target:
    named = [c for c in containers if _is_named(c, text)]
    of_service = [c for c in containers if c.service == text]
    if named and of_service and {c.id for c in named} != {c.id for c in of_service}:
        raise Refusal(
            f"{text} is ambiguous: a container and a compose service have that name",
            f"name container/{text} or compose/{text}",
        )
    if of_service:
        return _service(text, text, containers)
    return _running(text, named, containers)


def _running(
    text: str,
    found: Sequence[Container],
    everything: Sequence[Container],
    project: str = "",
    service: str = "",
) -> Target:
    if not found:
        raise _missing(text, everything)
    running = [c for c in found if c.state == "running"]
    if not running:
        raise _not_running(text, found[0], service)
    for container in running:
        if container.network_mode == "host":
            raise Refusal(
                f"{text} uses the host's network (--network host): what reaches it cannot be told from what reaches "
                "the machine",
                "give the target a network of its own, or choose another target",
            )
    name = f"compose/{service}" if service else f"container/{running[0].name}"
    return Target(name, tuple(running), project, service)


def _not_running(text: str, container: Container, service: str) -> Refusal:
    mend = {"paused": f"docker unpause {container.name}"}.get(
        container.state, f"docker start {container.name}"
    )
    if service and container.state != "paused":
        mend = f"docker compose up -d {service}"
    return Refusal(f"{text} is not running (it is {container.state})", f"`{mend}`, then again")


def _missing(text: str, everything: Sequence[Container]) -> Refusal:
    choices = names(everything)
    wanted = text.split("/")[-1]
    by_word = {choice.split("/")[-1]: choice for choice in choices}
    like = [by_word[word] for word in difflib.get_close_matches(wanted, by_word, n=3, cutoff=0.5)]
    like += [choice for choice in choices if wanted in choice and choice not in like]
    if like:
        return Refusal(f"there is no {text}", f"did you mean {' or '.join(like[:3])}?")
    if choices:
        return Refusal(f"there is no {text}", f"{there_is(choices)}; `mirror-run ls` shows all")
    return Refusal(f"there is no {text}: no container runs on this engine", "start the target first")


def names(containers: Iterable[Container]) -> list[str]:
    """Every target there is, by its full name; those of a service once."""
    found = dict.fromkeys(f"compose/{c.service}" if c.service else f"container/{c.name}" for c in containers)
    return list(found)
