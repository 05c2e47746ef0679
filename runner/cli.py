"""The command line: what was written becomes RunOptions, and what comes back becomes an exit code. Decides
nothing else.

``run`` is implied; ``exec`` is its other name. TARGET stands first, or after --target; then options, ``--``
and the command.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable
from typing import Any

import click

from runner import VERSION, config
from runner.errors import FAILED, Interrupted, Refusal
from runner.screen import Screen, ScreenHandler

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class Commands(click.Group):
    """A word that is no command of ours begins an implied ``run``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h", "--version"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


class RunCommand(click.Command):
    """TARGET is the first word unless --target is there; options may stand on both sides of it; the rest is
    the command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, self._target_named(ctx, args))

    def _target_named(self, ctx: click.Context, args: list[str]) -> list[str]:
        parser = self.make_parser(ctx)
        parser.allow_interspersed_args = False
        given, rest, _ = parser.parse_args(args=list(args))
        command = given.get("command")
        rest = list(command if isinstance(command, tuple) else rest)
        before = args[: len(args) - len(rest)]
        if given.get("target") or not rest or before[-1:] == ["--"]:
            return args
        target, *after = rest
        if after and not after[0].startswith("-"):
            after = ["--", *after]
        return [*before, "--target", target, *after]


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, message="mirror-run %(version)s")
def mirror_run() -> None:
    """Run a command here as if it were a replica of a container elsewhere.

    \b
    mirror-run TARGET -- COMMAND…            mirror-run compose/api -- npm run dev
    mirror-run --target TARGET -- COMMAND…   mirror-run --target container/api -- curl http://db:8080

    TARGET is container/NAME, compose/SERVICE, or a bare NAME. The options of `mirror-run run` (see
    `mirror-run run --help`) stand before or after it.
    """


def _many(*names: str, help: str, metavar: str = "") -> Callable[[Any], Any]:  # noqa: A002 - click's own word
    return click.option(*names, multiple=True, help=help, metavar=metavar or None)


def _engine_options(command: Any) -> Any:
    for option in reversed(
        [
            click.option(
                "--context", default="", metavar="NAME", help="The docker context whose engine to use."
            ),
            click.option("-q", "--quiet", is_flag=True, help="Errors only."),
            click.option("--verbose", is_flag=True, help="Say more (--log-level info)."),
            click.option(
                "--log-level", type=click.Choice(list(LEVELS)), help="What goes to stderr besides progress."
            ),
        ]
    ):
        command = option(command)
    return command


RUN_OPTIONS = [
    click.option(
        "--target", default="", metavar="TARGET", help="container/NAME, compose/SERVICE, or a bare name."
    ),
    _many("-e", "--env", metavar="NAME[=VALUE]", help="A variable of the app; wins over the target's."),
    _many("--env-file", metavar="FILE", help="Lines NAME=VALUE."),
    click.option(
        "--override-env-vars-include",
        default="",
        metavar="NAMES",
        help="Of the target's, only these (A;B_*).",
    ),
    click.option(
        "--override-env-vars-exclude", default="", metavar="NAMES", help="Of the target's, not these."
    ),
    _many("-v", "--volume", metavar="SRC:DST[:ro]", help="Mount a folder or volume."),
    click.option("-w", "--workdir", default="", metavar="DIR", help="The command's directory."),
    click.option(
        "-u", "--user", default="", metavar="USER[:GROUP]", help="Whom the command runs as; else the caller."
    ),
    _many("-p", "--publish", metavar="[HOST:]PORT", help="Publish a port of the app on this machine."),
    click.option("--name", default="", help="The app container's name."),
    click.option("--entrypoint", default=None, help="Replace the image's ENTRYPOINT (and drop its CMD)."),
    click.option("--image", default="", help="Run in this image, not in the target's."),
    click.option(
        "--build", default="", metavar="DIR", help="Run in the image that this folder's Dockerfile makes."
    ),
    click.option(
        "-f",
        "--file",
        "dockerfile",
        default="",
        metavar="FILE",
        help="The Dockerfile, inside --build's folder.",
    ),
    click.option(
        "--pull", type=click.Choice(["always", "missing", "never"]), default="missing", show_default=True
    ),
    click.option("--platform", default="", metavar="OS/ARCH", help="The image's platform."),
    click.option("--network", default="", help="Attach this Docker network too."),
    _many("--add-host", metavar="NAME:IP", help="A line for the app's /etc/hosts."),
    click.option("--hostname", default="", help="A host name other than the target's."),
    click.option(
        "-i", "--interactive/--no-interactive", default=None, help="Give the app our stdin (the default)."
    ),
    click.option("-t", "small_t", is_flag=True, help="A terminal, if we have one (the default)."),
    click.option("--tty/--no-tty", default=None, help="A terminal, whether or not we have one."),
    click.option("-m", "--memory", default="", metavar="SIZE", help="Memory limit of the app."),
    click.option("--cpus", type=float, default=0.0, help="CPU limit of the app."),
    _many("-l", "--label", metavar="NAME=VALUE", help="A label of the app container."),
    _many("--cap-add", metavar="NAME", help="A capability for the app."),
    click.option("--rm", is_flag=True, help="Accepted and without effect: nothing of a run is ever kept."),
    _many(
        "--map-port", metavar="APP:TARGET", help="Traffic of the target's port goes to this port of the app."
    ),
    click.option(
        "--ignore-port", type=click.IntRange(1, 65535), multiple=True, help="Leave this port alone."
    ),
]


def _run_options(command: Any) -> Any:
    for option in reversed(RUN_OPTIONS):
        command = option(command)
    return command


@mirror_run.command("run", cls=RunCommand, context_settings={"allow_interspersed_args": True})
@_run_options
@_engine_options
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def run(**given: Any) -> int:
    """Run COMMAND in a container that is, on the network, the target.

    Without COMMAND the app runs what the target runs.
    """
    from runner.conduct import conduct

    return conduct(_options(given), config.caller(), _screen(given))


mirror_run.add_command(run, "exec")


def _options(given: dict[str, Any]) -> config.RunOptions:
    return config.RunOptions(
        target=given["target"],
        command=given["command"],
        env=given["env"],
        env_files=given["env_file"],
        env_include=given["override_env_vars_include"],
        env_exclude=given["override_env_vars_exclude"],
        volumes=given["volume"],
        workdir=given["workdir"],
        user=given["user"],
        publish=given["publish"],
        name=given["name"],
        entrypoint=given["entrypoint"],
        image=given["image"],
        build=given["build"],
        dockerfile=given["dockerfile"],
        pull=given["pull"],
        platform=given["platform"],
        network=given["network"],
        add_hosts=given["add_host"],
        hostname=given["hostname"],
        interactive=given["interactive"],
        tty=given["tty"],
        memory=given["memory"],
        cpus=given["cpus"],
        labels=given["label"],
        cap_add=given["cap_add"],
        map_ports=given["map_port"],
        ignore_ports=given["ignore_port"],
        context=given["context"],
        quiet=given["quiet"],
        log_level=_level(given),
    )


def _level(given: dict[str, Any]) -> int:
    return LEVELS[given["log_level"] or ("info" if given["verbose"] else "warning")]


def _screen(given: dict[str, Any]) -> Screen:
    screen = Screen(quiet=given["quiet"])
    logging.basicConfig(level=_level(given), handlers=[ScreenHandler(screen)])
    if _level(given) <= logging.DEBUG:
        for noisy in ("urllib3", "docker", "asyncio"):
            logging.getLogger(noisy).setLevel(logging.INFO)
    return screen


@mirror_run.command("ls")
@_engine_options
def ls(**given: Any) -> int:
    """List the targets there are."""
    from runner import listing

    return asyncio.run(listing.targets_table(config.caller(), given["context"], _screen(given)))


@mirror_run.command("ps")
@_engine_options
def ps(**given: Any) -> int:
    """List the sessions on this engine."""
    from runner import listing

    return asyncio.run(listing.sessions_table(config.caller(), given["context"], _screen(given)))


@mirror_run.command("stop")
@click.argument("session")
@_engine_options
def stop(session: str, **given: Any) -> int:
    """End a session: SIGTERM for its command, and after 10 s what is left is removed."""
    from runner import listing

    return asyncio.run(listing.stop(session, config.caller(), given["context"], _screen(given)))


@mirror_run.command("doctor")
@_engine_options
def doctor(**given: Any) -> int:
    """Look at everything a session needs, and say what to do about what is missing."""
    from runner.examination import examine

    return asyncio.run(examine(config.caller(), given["context"], _screen(given)))


@mirror_run.command("version")
def version() -> int:
    """The version."""
    Screen().say(f"mirror-run {VERSION}")
    return 0


def main() -> None:
    """The console script."""
    _open_standard_streams()
    sys.exit(run_words(sys.argv[1:]))


def _open_standard_streams() -> None:
    """A closed one becomes /dev/null: the next file or socket opened would take its number, and be taken for it."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def run_words(args: list[str]) -> int:
    """What is raised becomes a sentence and an exit code, here and nowhere else. Bugs of ours keep their traceback."""
    screen = Screen()
    try:
        code = mirror_run.main(args, prog_name="mirror-run", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        screen.refusal(
            Refusal(
                error.format_message(), "`mirror-run --help` and `mirror-run run --help` show what there is"
            )
        )
    except (click.Abort, KeyboardInterrupt):
        return 130
    except Refusal as refusal:
        screen.refusal(refusal)
        return refusal.code
    except Interrupted as interrupted:
        return interrupted.code
    return FAILED


if __name__ == "__main__":
    main()
