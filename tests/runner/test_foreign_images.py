"""The agent's image for another kind of machine: built beside the engine's own, or refused without an emulator."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner import base, images
from runner.errors import Refusal

AGENT = images.names().agent


class Engine:
    """The SDK's low-level client of an amd64 engine. ``tags``: reference to the image's id."""

    def __init__(self, *tags: str) -> None:
        self.tags = {tag: f"id-of-{tag}" for tag in tags}
        self.pulled: list[tuple[str, str | None]] = []
        self.pull_fails = ""
        self.built: list[dict[str, Any]] = []
        self.build_says: list[dict[str, str]] = [{"stream": "Successfully built\n"}]

    def version(self, *, api_version: bool) -> dict[str, str]:
        return {"Arch": "amd64"}

    def images(self, *, filters: dict[str, str], quiet: bool = False) -> list[Any]:
        found = self.tags.get(filters["reference"])
        return [found] if found else []

    def pull(
        self, repository: str, *, tag: str, stream: bool, decode: bool, platform: str | None
    ) -> Iterator[dict[str, str]]:
        self.pulled.append((f"{repository}:{tag}", platform))
        if self.pull_fails:
            yield {"error": self.pull_fails}
            return
        self.tags[f"{repository}:{tag}"] = f"pulled for {platform}"
        yield {"status": "Downloaded"}

    def tag(self, image: str, repository: str, tag: str, *, force: bool = False) -> bool:
        self.tags[f"{repository}:{tag}"] = self.tags.get(image, image)
        return True

    def remove_image(self, reference: str) -> None:
        del self.tags[reference]

    def build(self, **asked: Any) -> Iterator[dict[str, str]]:
        self.built.append(asked)
        yield from self.build_says


def quiet(text: str) -> None:
    """Progress that nobody watches."""


def test_it_is_built_for_that_platform_under_a_name_of_its_own() -> None:
    engine = Engine(f"{base.MADE}-arm64", base.MADE)
    assert images.ensure_agent(engine, "linux/arm64", quiet) == f"{AGENT}-arm64"
    [asked] = engine.built
    assert (asked["target"], asked["platform"], asked["tag"]) == ("agent", "linux/arm64", f"{AGENT}-arm64")
    assert asked["buildargs"]["BASE"] == f"{base.MADE}-arm64"


def test_one_that_is_there_is_not_built_again() -> None:
    engine = Engine(f"{AGENT}-arm64")
    assert images.ensure_agent(engine, "linux/arm64", quiet) == f"{AGENT}-arm64"
    assert engine.built == []


@pytest.mark.parametrize(
    "says",
    [
        [{"stream": "exec /bin/sh: exec format error\n"}, {"error": "returned a non-zero code: 1"}],
        [{"error": "failed to create shim: exec format error"}],
    ],
    ids=["the program says it", "the run time says it"],
)
def test_an_engine_without_an_emulator_is_told_how_to_have_one(says: list[dict[str, str]]) -> None:
    engine = Engine(f"{base.MADE}-arm64")
    engine.build_says = says
    with pytest.raises(Refusal, match="cannot run programs of linux/arm64") as refusal:
        images.ensure_agent(engine, "linux/arm64", quiet)
    assert "tonistiigi/binfmt" in refusal.value.next_step


@pytest.mark.parametrize("own", [True, False], ids=["own was there", "own was not there"])
def test_a_pull_for_another_kind_of_machine_leaves_the_engines_own(own: bool) -> None:
    engine = Engine(*([base.PULLED] if own else []))
    assert base.ensure_base(engine, quiet, "arm64") == f"{base.MADE}-arm64"
    assert engine.pulled == [(base.PULLED, "linux/arm64")]
    assert engine.tags[f"{base.MADE}-arm64"] == "pulled for linux/arm64"
    assert engine.tags.get(base.PULLED) == (f"id-of-{base.PULLED}" if own else None)


def test_the_engines_own_is_pulled_as_before() -> None:
    engine = Engine()
    assert base.ensure_base(engine, quiet) == base.PULLED
    assert engine.pulled == [(base.PULLED, None)]


def test_what_is_made_here_is_loaded_as_of_its_own_kind(tmp_path: Path) -> None:
    """An import would be taken for the engine's own kind of machine, and a build FROM it refused half-way."""
    loaded: list[bytes] = []

    class Loads(Engine):
        def load_image(self, data: Iterator[bytes]) -> list[dict[str, str]]:
            loaded.append(b"".join(data))
            return [{"stream": "Loaded image"}]

    archive = tmp_path / "base.tar"
    archive.write_bytes(b"a file system")
    base._load(Loads(), archive, "mirror-run/base:1-arm64", "arm64")
    with tarfile.open(fileobj=io.BytesIO(loaded[0])) as tar:
        content = {name: tar.extractfile(name).read() for name in tar.getnames()}  # type: ignore[union-attr]
    [manifest] = json.loads(content["manifest.json"])
    assert manifest["RepoTags"] == ["mirror-run/base:1-arm64"]
    config = json.loads(content[manifest["Config"]])
    assert (config["os"], config["architecture"]) == ("linux", "arm64")
    [layer] = manifest["Layers"]
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(content[layer]).hexdigest()}"]
    assert content[layer] == b"a file system"
