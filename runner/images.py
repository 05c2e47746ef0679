"""The two images that a run needs, bridge and agent: built on the engine at first use, found by their hash ever after.

They are built through the engine's API by its classic builder (every engine since 17.05 has it; buildx need not be
there), from ``runner.sources``. Blocking calls, but for ``present``: the caller puts them into a thread.
"""

from __future__ import annotations

import asyncio
import io
import logging
import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from runner import sources
from runner.engine import Engine
from runner.errors import Refusal
from runner.labels import IMAGE
from runner.together import together
from wire.record import record

log = logging.getLogger(__name__)

APP_FOLDER = "/usr/local/lib/mirror-run"
"""In the bridge's image: the static program that becomes the app container's first process."""

LINK_PATH = "/usr/local/bin/mirror-link"
"""In the agent's image: stdin and stdout joined to a Unix socket."""

ROLES = ("agent", "bridge")

OURS = "mirror-run/*"

PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
"""Build arguments every builder knows without being told (Dockerfile reference, "Predefined ARGs")."""

NOTHING: Mapping[str, str] = MappingProxyType({})

LINES_SHOWN = 12
"""Of a failed build's output, besides those that say "error"."""

LINES_KEPT = 400

KEPT = 6
"""Versions of an image that stay on an engine: people switch between branches and releases."""

COLOURS = re.compile(r"\x1b\[\d*m")


@record
class Images:
    """References that this engine has."""

    bridge: str
    agent: str


def names() -> Images:
    """What the images of this installation are called, built or not."""
    return _named(sources.load())


def _named(loaded: sources.Sources) -> Images:
    digest = loaded.digest()
    return Images(bridge=f"mirror-run/bridge:{digest}", agent=f"mirror-run/agent:{digest}")


async def present(engine: Engine) -> Images | None:
    """The images, if this engine has both."""
    wanted, there = await together(asyncio.to_thread(names), engine.images(OURS))
    return wanted if _both(wanted, there) else None


def _both(wanted: Images, there: Iterable[Mapping[str, Any]]) -> bool:
    found = {tag for image in there for tag in image.get("RepoTags") or ()}
    return {wanted.bridge, wanted.agent} <= found


def base(client: Any, progress: Callable[[str], None]) -> str:
    """The base image alone; other images may start FROM it. ``client``: the Docker SDK's, of either level."""
    from runner.base import ensure_base  # and below: only who builds needs it

    return ensure_base(_low(client), progress)


def ensure(client: Any, progress: Callable[[str], None], environ: Mapping[str, str] = NOTHING) -> Images:
    """Have them: at once when they are there, else build. ``client``: the Docker SDK's, of either level.

    ``progress`` is told a sentence for each step; of ``environ`` only the proxies are used. Refusal when the base image
    cannot be had or a build fails.
    """
    api = _low(client)
    loaded = sources.load()
    wanted = _named(loaded)
    if _both(wanted, api.images(name=OURS)):
        return wanted
    from runner.base import ensure_base

    start = ensure_base(api, progress)
    context = loaded.archive()
    for role in ROLES:
        arguments = {"BASE": start} | {name: environ[name] for name in PROXIES if name in environ}
        _build(api, role, getattr(wanted, role), arguments, context, progress)
        _prune(api, role)
    return wanted


def ensure_agent(
    client: Any, platform: str, progress: Callable[[str], None], environ: Mapping[str, str] = NOTHING
) -> str:
    """Have the agent's image for nodes of this platform ("linux/arm64"); its reference. Refusal, also where the engine
    cannot run that platform's programs."""
    api = _low(client)
    arch = platform.removeprefix("linux/")
    if arch == own_arch(api):
        return ensure(client, progress, environ).agent
    loaded = sources.load()
    tag = f"{_named(loaded).agent}-{arch}"
    if api.images(filters={"reference": tag}):
        return tag
    from runner.base import ensure_base

    arguments = {"BASE": ensure_base(api, progress, arch)}
    arguments |= {name: environ[name] for name in PROXIES if name in environ}
    _build(api, "agent", tag, arguments, loaded.archive(), progress, arch)
    return tag


def own_arch(client: Any) -> str:
    """The engine's, as Docker and Debian call it: amd64, arm64."""
    return str(_low(client).version(api_version=False)["Arch"])


def _low(client: Any) -> Any:
    return getattr(client, "api", client)


def _build(
    api: Any,
    role: str,
    tag: str,
    arguments: dict[str, str],
    context: bytes,
    progress: Callable[[str], None],
    arch: str = "",
) -> None:
    step = ""
    said: deque[str] = deque(maxlen=LINES_KEPT)
    stream = api.build(
        fileobj=io.BytesIO(context),
        custom_context=True,
        dockerfile="images/Dockerfile",
        target=role,
        tag=tag,
        buildargs=arguments,
        labels={IMAGE: role},
        platform=f"linux/{arch}" if arch else None,
        rm=True,
        forcerm=True,
        decode=True,
    )
    for line in stream:
        for text in COLOURS.sub("", str(line.get("stream", ""))).splitlines():
            if text.strip():
                log.debug("build %s: %s", role, text)
                said.append(text.strip())
                if found := re.match(r"Step (\d+/\d+) : RUN", text):  # the other steps take no time
                    step = found[1].replace("/", " of ")
                elif step and text.startswith(" ---> Running in"):  # and it was not in the cache
                    progress(f"building the {role}'s image, step {step}")
                    step = ""
        if "error" in line:
            if arch and any("exec format error" in text for text in [*said, str(line["error"])]):
                from runner.base import no_emulator

                raise no_emulator(arch)
            raise Refusal(
                f"the {role}'s image could not be built: {line['error']}\n"
                + "\n".join("  " + text for text in _telling(list(said))),
                "inside a build, apt must reach a Debian mirror through the engine's default network",
            )


def _prune(api: Any, role: str) -> None:
    """Forget what earlier versions were built as, but for the newest few; what a session uses the engine keeps."""
    built = sorted(api.images(name=f"mirror-run/{role}"), key=lambda image: image["Created"], reverse=True)
    for image in built[KEPT:]:
        for tag in image["RepoTags"] or ():
            try:
                api.remove_image(tag)
            except Exception as error:  # noqa: BLE001 - in use, or gone: either way it is not ours to insist
                log.debug("image %s stays: %s", tag, error)


def _telling(lines: list[str]) -> list[str]:
    """Of a failed build's output: the errors, and how it ended."""
    earlier = lines[:-LINES_SHOWN]
    return [text for text in earlier if re.search(r"\berror\b", text, re.IGNORECASE)] + lines[-LINES_SHOWN:]
