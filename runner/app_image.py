"""Which image the app runs in: the target's own, or what --image, --build and --pull say, as docker
understands them."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass

from runner.config import Caller, RunOptions
from runner.engine import Engine, EngineError, Json
from runner.errors import Refusal
from runner.place import Original

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
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


async def _chosen(engine: Engine, options: RunOptions, progress: Progress) -> AppImage:
    name = options.image
    if options.pull == "always":
        await _pull(engine, options, progress)
    try:
        found = await engine.inspect_image(name)
    except EngineError as error:
        if not error.missing:
            raise
        if options.pull == "never":
            raise Refusal(
                f"the image {name} is not on this engine, and --pull never", f"`docker pull {name}`"
            ) from error
        await _pull(engine, options, progress)
        found = await engine.inspect_image(name)
    return AppImage(name, found["Config"] or {})


async def _pull(engine: Engine, options: RunOptions, progress: Progress) -> None:
    name = options.image
    if ":" not in name.rpartition("/")[2] and "@" not in name:
        name += ":latest"
    try:
        await engine.pull(name, options.platform, progress)
    except EngineError as error:
        raise Refusal(
            f"the image {name} cannot be had: {error.sentence}",
            f"`docker pull {name}` must work; or leave --image out to use the target's own",
        ) from error
