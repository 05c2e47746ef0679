"""``mirror-run images``: the product's images on the engine, and the agent's where a cluster can have it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import closing
from typing import Any

import click

from runner import cli_options as opt
from runner import config
from runner.cli_help import Sectioned, having
from runner.screen import Screen


@click.group("images", invoke_without_command=True)
@click.pass_context
def images(context: click.Context) -> None:
    """The images of a session, and the agent's for a cluster.

    \b
    mirror-run images push registry.example/tools      then: --agent-image registry.example/tools/mirror-run-agent
    mirror-run images save agent.tar                   then: kind load image-archive agent.tar

    Instead of --agent-image the variable MIRROR_RUN_AGENT_IMAGE may be set. A name without a tag means the tag that
    `push` gives to this version.
    """
    if context.invoked_subcommand is None:
        Screen().say(context.get_help())


PLATFORM = click.option(
    "--platform",
    "platforms",
    default="",
    metavar="OS/ARCH,…",
    help="linux/amd64, linux/arm64, or both; else the engine's own. For another than its own the engine's machine "
    "must run foreign programs (binfmt_misc with qemu).",
)

SUPPORTED = ("linux/amd64", "linux/arm64")


@images.command("build", cls=Sectioned)
@PLATFORM
@having(opt.ENGINE)
def build(**given: Any) -> int:
    """Have the images on this engine.

    A run does the same when they are missing.
    """

    def work(api: Any, screen: Screen, caller: config.Caller) -> None:
        from runner import images as product

        made = product.ensure(api, screen.step, caller.environ)
        agents = _agents(api, given, screen, caller)
        screen.settle()
        screen.say("\n".join([made.bridge, *agents.values()]))

    return _on_engine(work, given)


@images.command("push", cls=Sectioned)
@click.argument("where", metavar="REGISTRY[/PATH]")
@PLATFORM
@having(opt.ENGINE)
def push(where: str, **given: Any) -> int:
    """Push the agent's image to a registry.

    Prints the reference by digest. Credentials are docker's (`docker login`).
    """

    def work(api: Any, screen: Screen, caller: config.Caller) -> None:
        from runner import images as product
        from runner.engine_sdk import account
        from runner.kube import agent_images, image_list

        to = agent_images.destination(where, product.names().agent)
        agents = _agents(api, given, screen, caller)
        if len(agents) == 1:
            [image] = agents.values()
            pushed = agent_images.push(api, image, to, screen.step)
        else:
            parts = {
                platform: agent_images.push(api, image, to.of(platform), screen.step)
                for platform, image in agents.items()
            }
            pushed = image_list.put(to, parts, account(to.registry))
        screen.settle()
        screen.say(str(pushed))
        screen.notice(
            f"use it with --agent-image, or once for all: export {agent_images.VARIABLE}={to.repository}"
        )

    return _on_engine(work, given)


@images.command("save", cls=Sectioned)
@click.argument("file", type=click.Path(dir_okay=False))
@PLATFORM
@having(opt.ENGINE)
def save(file: str, **given: Any) -> int:
    """Write the agent's image to a file.

    FILE becomes a docker archive: for `ctr -n k8s.io images import FILE` on each node, or `kind load image-archive
    FILE`.
    """

    def work(api: Any, screen: Screen, caller: config.Caller) -> None:
        from runner import images as product
        from runner.kube import agent_images

        agents = _agents(api, given, screen, caller)
        if len(agents) != 1:
            raise click.UsageError("a file holds one platform: save each into its own")
        [image] = agents.values()
        octets = agent_images.save(api, image, file, screen.step)
        screen.settle()
        screen.say(image)
        known = (
            "nodes that have it need no"
            if image == product.names().agent
            else "once nodes have it, name it with"
        )
        screen.notice(f"{octets / 1e6:.0f} MB; {known} --agent-image")

    return _on_engine(work, given)


def _agents(api: Any, given: dict[str, Any], screen: Screen, caller: config.Caller) -> dict[str, str]:
    """By platform: the reference on the engine."""
    from runner import images as product

    wanted = given["platforms"].split(",") if given["platforms"] else [f"linux/{product.own_arch(api)}"]
    if unknown := [one for one in wanted if given["platforms"] and one not in SUPPORTED]:
        raise click.UsageError(f"--platform {','.join(unknown)}: there are {' and '.join(SUPPORTED)}")
    return {one: product.ensure_agent(api, one, screen.step, caller.environ) for one in wanted}


def _on_engine(work: Callable[[Any, Screen, config.Caller], None], given: dict[str, Any]) -> int:
    from runner import contexts
    from runner.engine import EngineError, connect
    from runner.refusals import translated

    caller, screen = config.caller(), opt.screen(given)

    async def run() -> None:
        found = contexts.choose(caller.environ, caller.home, given["docker_context"])
        with closing(await connect(found)) as engine:
            try:
                await engine.work("images", lambda api: work(api, screen, caller))
            except EngineError as error:
                raise translated(error.sentence) from error

    asyncio.run(run())
    return 0
