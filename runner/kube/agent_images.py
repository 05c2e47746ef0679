"""The agent's image on its way to where a cluster can have it: its names, a push to a registry, a file.

The engine does the work, with the user's own credentials (`docker login`). Blocking calls: the caller puts them into a
thread. Building is ``runner.images``'s.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from runner import VERSION, images
from runner.errors import Refusal
from wire.record import record

Progress = Callable[[str], None]

VARIABLE = "MIRROR_RUN_AGENT_IMAGE"
"""Of the runner's environment: what --agent-image is when it is not given."""

REPOSITORY = "mirror-run-agent"
"""What a pushed image is called below the registry's path."""

DOCKER_HUB = "docker.io"

STEP = 20_000_000
"""Octets between two words about progress."""


@record
class Name:
    """An image's reference (distribution/reference): [registry/]path[:tag][@digest]."""

    registry: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def repository(self) -> str:
        return f"{self.registry}/{self.path}" if self.registry else self.path

    def of(self, platform: str) -> Name:
        """The same for one platform of several."""
        return Name(self.registry, self.path, f"{self.tag}-{platform.replace('/', '-')}")

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.repository}{tag}" + (f"@{self.digest}" if self.digest else "")


def parsed(text: str) -> Name:
    """The first part is a registry if it could be a host: it has a dot or a port, or is localhost."""
    rest, _, digest = text.partition("@")
    first, slash, more = rest.partition("/")
    is_registry = bool(slash) and ("." in first or ":" in first or first == "localhost")
    registry, rest = (first, more) if is_registry else ("", rest)
    path, _, tag = rest.partition(":")
    return Name(registry, path, tag, digest)


def tag(image: str) -> str:
    """Of what is pushed: the version, and the hash of what ``image`` was built from."""
    return f"{VERSION}-{parsed(image).tag}"


def reference(asked: str, environ: Mapping[str, str]) -> str:
    """The image that agents are made from: ``asked`` (--agent-image), else the environment's, else the name under which
    this installation builds it, which only nodes know where it was loaded.

    A name with neither tag nor digest means the one that `images push` gave to this version.
    """
    wanted = asked or environ.get(VARIABLE, "")
    if not wanted:
        return images.names().agent
    name = parsed(wanted)
    return wanted if name.tag or name.digest else f"{name.repository}:{tag(images.names().agent)}"


def destination(where: str, image: str) -> Name:
    """Where ``image`` goes: REGISTRY[/PATH] as the user writes it; without a registry it is Docker Hub, as with
    docker. Refusal."""
    name = parsed(where)
    if "://" in where or name.digest or not where.strip("/"):
        raise Refusal(
            f"{where!r} is no REGISTRY[/PATH]",
            "write it as docker does: registry.example:5000/tools, or a Docker ID",
        )
    if not name.registry and "/" not in name.path and ("." in name.path or name.tag or where == "localhost"):
        name = Name(where, "")  # a registry alone: its port looks like a tag
    path = name.path.strip("/")
    if not path.endswith(REPOSITORY) and not name.tag:
        path = f"{path}/{REPOSITORY}".lstrip("/")
    return Name(name.registry or DOCKER_HUB, path, name.tag or tag(image))


def push(api: Any, image: str, to: Name, progress: Progress) -> Name:
    """Tag ``image`` and push it; returns the reference by digest. Refusal with what the registry said."""
    if not api.tag(image, to.repository, to.tag):
        raise Refusal(f"the engine did not tag {image} as {to}", "`docker images` shows what it has")
    shown = _Shown(f"pushing to {to.registry}", progress)
    digest = ""
    try:
        for line in api.push(to.repository, to.tag, stream=True, decode=True):
            if "error" in line:
                raise _not_pushed(to, str(line["error"]))
            digest = (line.get("aux") or {}).get("Digest") or digest
            shown.line(line)
    finally:
        api.remove_image(str(to))  # the name alone: the image keeps its own
    if not digest:
        raise Refusal(f"{to} was pushed, and the engine did not say its digest", "use it by its tag")
    return Name(to.registry, to.path, to.tag, digest)


def save(api: Any, image: str, path: str, progress: Progress) -> int:
    """Write ``image`` as a docker archive, for `ctr -n k8s.io images import` and `kind load image-archive`. Octets."""
    progress(f"saving {image}")
    written = 0
    try:
        with open(path, "wb") as file:
            for chunk in api.get_image(image):
                written += file.write(chunk)
    except BaseException as error:
        if os.path.isfile(path):
            os.unlink(path)
        if isinstance(error, OSError) and error.errno:
            raise Refusal(
                f"{path} cannot be written: {os.strerror(error.errno)}", "choose another place"
            ) from error
        raise
    return written


class _Shown:
    """Of the engine's many lines about layers: how much is through, now and then."""

    def __init__(self, what: str, progress: Progress) -> None:
        self._what = what
        self._progress = progress
        self._of: dict[str, int] = {}
        self._next = STEP
        progress(what)

    def line(self, line: Mapping[str, Any]) -> None:
        if not (current := (line.get("progressDetail") or {}).get("current")):
            return
        self._of[str(line.get("id"))] = int(current)
        if (done := sum(self._of.values())) >= self._next:
            self._next = done + STEP
            self._progress(f"{self._what}: {done / 1e6:.0f} MB")


def _not_pushed(to: Name, said: str) -> Refusal:
    what = f"{to} could not be pushed: {said}"
    if any(word in said for word in ("denied", "unauthorized", "no basic auth", "authentication required")):
        return Refusal(what, f"`docker login {to.registry}`, with an account that may write {to.path}")
    if "HTTP response to HTTPS client" in said:
        return Refusal(
            what, f"give the registry TLS, or name it under insecure-registries of the engine: {to.registry}"
        )
    return Refusal(what, f"is {to.registry} right, and can the engine's machine reach it?")
