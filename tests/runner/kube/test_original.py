"""A pod's container in docker's words."""

from __future__ import annotations

from typing import Any

import pytest

from runner.kube.original import original

ID = "sha256:" + "ab" * 32


def pod(image_id: str = "", spec: dict[str, Any] | None = None, **container: Any) -> dict[str, Any]:
    own = {"name": "web", "image": "shop/web:1"} | container
    return {
        "metadata": {"name": "cart-x1", "uid": "u"},
        "spec": {"containers": [{"name": "proxy", "image": "p"}, own]} | (spec or {}),
        "status": {"containerStatuses": [{"name": "web", "imageID": image_id}]},
    }


@pytest.mark.parametrize(
    ("image_id", "names"),
    [
        (f"docker.io/shop/web@{ID}", (f"docker.io/shop/web@{ID}", "shop/web:1")),
        (f"docker-pullable://shop/web@{ID}", (f"shop/web@{ID}", "shop/web:1")),
        (ID, (ID, "shop/web:1")),
        ("", ("shop/web:1",)),
    ],
)
def test_the_image_by_its_digest_before_its_tag(image_id: str, names: tuple[str, ...]) -> None:
    assert original(pod(image_id), "web").pull == names


@pytest.mark.parametrize(
    ("own", "config"),
    [
        ({"command": ["a"]}, {"Entrypoint": ["a"], "Cmd": []}),
        ({"command": ["a"], "args": ["b"]}, {"Entrypoint": ["a"], "Cmd": ["b"]}),
        ({"args": ["b"]}, {"Cmd": ["b"]}),
        ({}, {}),
        ({"workingDir": "/srv"}, {"WorkingDir": "/srv"}),
        ({"securityContext": {"runAsUser": 5}}, {"User": "5"}),
        ({"securityContext": {"runAsUser": 0, "runAsGroup": 7}}, {"User": "0:7"}),
    ],
)
def test_only_what_the_spec_says_is_said(own: dict[str, Any], config: dict[str, Any]) -> None:
    found = original(pod(**own), "web").config
    assert {key: found[key] for key in found.keys() - {"Hostname", "ExposedPorts"}} == config


def test_the_containers_security_context_goes_before_the_pods() -> None:
    spec = {"securityContext": {"runAsUser": 1, "runAsGroup": 2}}
    assert original(pod(spec=spec), "web").config["User"] == "1:2"
    assert original(pod(spec=spec, securityContext={"runAsUser": 3}), "web").config["User"] == "3:2"


def test_ports_and_names() -> None:
    ports = [{"containerPort": 80}, {"containerPort": 53, "protocol": "UDP"}]
    found = original(pod(ports=ports), "web").config
    assert found["ExposedPorts"] == {"80/tcp": {}, "53/udp": {}}
    assert found["Hostname"] == "cart-x1"
    assert original(pod(spec={"hostname": "cart-0"}), "web").config["Hostname"] == "cart-0"


def test_its_words_may_name_variables() -> None:
    assert original(pod(), "web").expands
