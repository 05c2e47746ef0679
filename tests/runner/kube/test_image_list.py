"""A list of images in a registry: what it says, and that it is put there with the credentials that docker has."""

from __future__ import annotations

import hashlib
import json

import pytest

from runner.engine_sdk import Account
from runner.errors import Refusal
from runner.kube import image_list
from runner.kube.agent_images import Name
from tests.e2e.images.registry import Registry, serving

DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
OCI = "application/vnd.oci.image.manifest.v1+json"

ANNA = Account("anna", "s3cret")


def pushed(registry: Registry, kind: str = DOCKER) -> tuple[Name, dict[str, Name]]:
    """Two images, as an engine leaves them."""
    to = Name(registry.host, "tools/mirror-run-agent", "1")
    parts = {}
    for platform in ("linux/amd64", "linux/arm64"):
        content = json.dumps({"mediaType": kind, "for": platform}).encode()
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        registry.manifests[f"{to.path}:{digest}"] = (kind, content)
        parts[platform] = Name(to.registry, to.path, to.of(platform).tag, digest)
    return to, parts


@pytest.mark.parametrize(("kind", "list_kind"), [(DOCKER, image_list.LIST), (OCI, image_list.INDEX)])
def test_the_list_names_each_platforms_image(kind: str, list_kind: str) -> None:
    with serving() as registry:
        to, parts = pushed(registry, kind)
        made = image_list.put(to, parts, None)
        stored_kind, content = registry.manifests[f"{to.path}:1"]
    assert made.digest == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert stored_kind == list_kind
    said = json.loads(content)
    assert (said["schemaVersion"], said["mediaType"]) == (2, list_kind)
    for one, (platform, name) in zip(said["manifests"], parts.items(), strict=True):
        assert one["platform"] == {"os": "linux", "architecture": platform.removeprefix("linux/")}
        assert one["digest"] == name.digest
        assert one["mediaType"] == kind
        assert one["size"] == len(registry.manifests[f"{to.path}:{name.digest}"][1])


@pytest.mark.parametrize("tokens", [False, True], ids=["basic", "tokens"])
def test_credentials_are_shown_as_the_registry_wants_them(tokens: bool) -> None:
    with serving("s3cret", tokens=tokens) as registry:
        to, parts = pushed(registry)
        assert image_list.put(to, parts, ANNA).digest
        assert f"{to.path}:1" in registry.manifests


@pytest.mark.parametrize("tokens", [False, True], ids=["basic", "tokens"])
@pytest.mark.parametrize("account", [None, Account("anna", "wrong")], ids=["none", "wrong"])
def test_credentials_that_are_missing_or_wrong(tokens: bool, account: Account | None) -> None:
    with serving("s3cret", tokens=tokens) as registry:
        to, parts = pushed(registry)
        with pytest.raises(Refusal) as refusal:
            image_list.put(to, parts, account)
        assert f"{to.path}:1" not in registry.manifests
    assert f"docker login {registry.host}" in refusal.value.next_step
    assert "wrong" not in refusal.value.what


def test_a_registry_that_is_gone() -> None:
    with serving() as registry:
        to, parts = pushed(registry)
    with pytest.raises(Refusal, match=r"could not be put into 127\.0\.0\.1"):
        image_list.put(to, parts, None)


def test_an_image_that_the_registry_has_lost() -> None:
    with serving() as registry:
        to, parts = pushed(registry)
        del registry.manifests[f"{to.path}:{parts['linux/arm64'].digest}"]
        with pytest.raises(Refusal, match="404"):
            image_list.put(to, parts, None)
