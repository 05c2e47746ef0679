"""Which image the app runs in: the target's own, or what --image, --build and --pull say, as docker
understands them."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable

from runner.config import Caller, RunOptions
from runner.engine import Engine, EngineError, Json
from runner.errors import Refusal
from runner.place import Original
from wire.record import record

Progress = Callable[[str], None]


@record
class AppImage:
    """``reference`` to create from; ``config`` (ENTRYPOINT, CMD, USER, WORKDIR) of what runs in it by default."""

    reference: str
    config: Json


async def settle(
    engine: Engine, options: RunOptions, caller: Caller, original: Original, progress: Progress
) -> AppImage:
    """Refusal if the image cannot be had."""
    if options.build:
        return await _built(engine, options, caller, progress)
    if options.image:
        return await _chosen(engine, options, progress)
    if original.pull:
        return await _targets_own(engine, options, original, progress)
    return AppImage(original.image, original.config)


async def _built(engine: Engine, options: RunOptions, caller: Caller, progress: Progress) -> AppImage:
    folder = str(caller.cwd / options.build)
    if not await asyncio.to_thread(os.path.isdir, folder):
        raise Refusal(
            f"--build {options.build}: there is no such folder", "name the folder that holds the Dockerfile"
        )
    tag = options.image or f"mirror-run/build:{hashlib.sha256(folder.encode()).hexdigest()[:12]}"
    try:
        await engine.build(folder, options.dockerfile, tag, options.platform, progress)
    except EngineError as error:
        raise Refusal(
            f"--build {options.build}: {error.sentence}", "`docker build` shows the whole output"
        ) from error
    return AppImage(tag, (await engine.inspect_image(tag))["Config"] or {})


async def _had(engine: Engine, options: RunOptions, name: str, progress: Progress) -> Json:
    """The image, inspected; pulled as --pull says."""
    if options.pull == "always":
        await _pull(engine, options, name, progress)
    try:
        return await engine.inspect_image(name)
    except EngineError as error:
        if not error.missing:
            raise
        if options.pull == "never":
            raise Refusal(
                f"the image {name} is not on this engine, and --pull never", f"`docker pull {name}`"
            ) from error
        await _pull(engine, options, name, progress)
        return await engine.inspect_image(name)


async def _targets_own(
    engine: Engine, options: RunOptions, original: Original, progress: Progress
) -> AppImage:
    """The first of its names that is here or can be pulled, with what the target says over its image."""
    failure: Refusal | None = None
    for name in original.pull:
        try:
            found = await _had(engine, options, name, progress)
        except Refusal as refusal:
            failure = failure or refusal
            continue
        return AppImage(name, (found["Config"] or {}) | original.config)
    assert failure is not None
    raise Refusal(
        f"the target's own image is not to be had here: {failure.what}",
        f"`docker pull {original.image}` must work (perhaps `docker login`); or choose another with --image or --build",
    )


async def _chosen(engine: Engine, options: RunOptions, progress: Progress) -> AppImage:
    found = await _had(engine, options, options.image, progress)
    return AppImage(options.image, found["Config"] or {})


async def _pull(engine: Engine, options: RunOptions, name: str, progress: Progress) -> None:
    if name.startswith("sha256:"):
        raise Refusal(f"no image {name[:19]} is on this engine, and an id alone names no registry")
    if ":" not in name.rpartition("/")[2] and "@" not in name:
        name += ":latest"
    try:
        await engine.pull(name, options.platform, progress)
    except EngineError as error:
        raise Refusal(
            f"the image {name} cannot be had: {error.sentence}",
            f"`docker pull {name}` must work; or leave --image out to use the target's own",
        ) from error
