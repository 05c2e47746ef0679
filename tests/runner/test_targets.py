"""What a target names, and what is said when it names nothing that can be one."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from runner import targets
from runner.errors import Refusal
from runner.labels import ROLE


def summary(name: str, state: str = "running", mode: str = "bridge", **labels: str) -> dict[str, Any]:
    return {
        "Id": hashlib.sha256(name.encode()).hexdigest(),
        "Names": [f"/{name}", f"/other/{name}-alias"],
        "State": state,
        "Image": "img",
        "Labels": labels,
        "HostConfig": {"NetworkMode": mode},
        "Ports": [{"PrivatePort": 80, "Type": "tcp"}, {"PrivatePort": 80, "Type": "tcp", "PublicPort": 8080}],
    }


def service(project: str, name: str, number: int, state: str = "running") -> dict[str, Any]:
    labels = {
        targets.PROJECT: project,
        targets.SERVICE: name,
        targets.NUMBER: str(number),
        targets.ONE_OFF: "False",
    }
    return summary(f"{project}-{name}-{number}", state, f"{project}_default", **labels)


ENGINE = [
    summary("solo"),
    summary("stopped", "exited"),
    summary("frozen", "paused"),
    summary("hosted", mode="host"),
    service("shop", "api", 2),
    service("shop", "api", 1),
    service("shop", "api", 3, "exited"),
    service("shop", "web", 1),
    service("blog", "web", 1),
    summary("redis"),
    service("shop", "redis", 1),
    summary("mirror-run-1234-app", **{ROLE: "app"}),
    summary("shop-api-run", **{targets.PROJECT: "shop", targets.SERVICE: "api", targets.ONE_OFF: "True"}),
]


def resolve(text: str) -> targets.Target:
    return targets.resolve(text, targets.listed(ENGINE))


@pytest.mark.parametrize(
    ("text", "name", "containers"),
    [
        ("container/solo", "container/solo", ["solo"]),
        ("solo", "container/solo", ["solo"]),
        ("compose/api", "compose/api", ["shop-api-1", "shop-api-2"]),
        ("api", "compose/api", ["shop-api-1", "shop-api-2"]),
        ("compose/shop/web", "compose/web", ["shop-web-1"]),
        ("container/shop-api-2", "container/shop-api-2", ["shop-api-2"]),
    ],
)
def test_what_is_named(text: str, name: str, containers: list[str]) -> None:
    found = resolve(text)
    assert (found.name, [container.name for container in found.containers]) == (name, containers)


def test_an_id_s_beginning_names_a_container() -> None:
    wanted = next(one for one in targets.listed(ENGINE) if one.name == "solo")
    assert resolve(f"container/{wanted.id[:12]}").containers[0].id == wanted.id


@pytest.mark.parametrize(
    ("text", "what", "next_step"),
    [
        ("container/sollo", "there is no container/sollo", "did you mean container/solo?"),
        ("apo", "there is no apo", "compose/api"),
        ("container/zzzzzz", "there is no container/zzzzzz", "mirror-run ls"),
        ("container/stopped", "is not running (it is exited)", "docker start stopped"),
        ("container/frozen", "is not running (it is paused)", "docker unpause frozen"),
        ("container/hosted", "uses the host's network", "a network of its own"),
        ("compose/web", "2 compose projects have it", "compose/blog/web, compose/shop/web"),
        ("redis", "is ambiguous", "container/redis or compose/redis"),
        ("deploy/x", "not a kind of target", "container/NAME and compose/SERVICE"),
        ("container/mirror-run-1234-app", "there is no", ""),
        ("container/shop-api-run", "there is no", ""),
        ("", "no target was named", "mirror-run ls"),
        ("container/", "there is no container/", ""),
    ],
)
def test_what_is_refused(text: str, what: str, next_step: str) -> None:
    with pytest.raises(Refusal) as refused:
        resolve(text)
    assert what in refused.value.what
    assert next_step in refused.value.next_step


def test_an_engine_without_containers() -> None:
    with pytest.raises(Refusal, match="no container runs"):
        targets.resolve("api", [])


def test_who_takes_part_later() -> None:
    of_service, of_container = resolve("compose/api"), resolve("container/solo")
    new = {targets.PROJECT: "shop", targets.SERVICE: "api"}
    assert of_service.takes("shop-api-4", new)
    assert not of_service.takes("shop-api-run-1", new | {targets.ONE_OFF: "True"})
    assert not of_service.takes("blog-api-1", new | {targets.PROJECT: "blog"})
    assert not of_service.takes("shop-api-9", new | {ROLE: "app"})
    assert of_container.takes("solo", {})
    assert not of_container.takes("solo2", {})


def test_names_are_given_once() -> None:
    assert targets.names(targets.listed(ENGINE)).count("compose/api") == 1
