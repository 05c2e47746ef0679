"""The command line: what was written becomes RunOptions, and what comes back becomes an exit code. Decides
nothing else.

``run`` is implied; ``exec`` is its other name. TARGET stands first, or after --target; then options, ``--``
and the command.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
from pathlib import Path
from typing import Any

import click

from runner import VERSION, config, configuration
from runner import cli_options as opt
from runner.errors import FAILED, Interrupted, Refusal
from runner.screen import Screen

ELSEWHERE = {
    "images": "runner.cli_images",
    "install": "runner.cli_install",
    "upgrade": "runner.cli_install",
    "uninstall": "runner.cli_install",
}
"""The module that has a command, by its name there and here: a run's start does not wait for these."""


class Commands(click.Group):
    """A word that is no command of ours begins an implied ``run``. Those of ELSEWHERE are imported when asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *ELSEWHERE])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if module := ELSEWHERE.get(cmd_name):
            found: click.Command = getattr(importlib.import_module(module), cmd_name)
            return found
        return super().get_command(ctx, cmd_name)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.list_commands(ctx) and args[0] not in ("--help", "-h", "--version"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


class RunCommand(click.Command):
    """TARGET is the first word unless --target, --selector or --targetless is there, or in the configuration file;
    options may stand on both sides of it; the rest is the command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, self._target_named(ctx, args))

    def _target_named(self, ctx: click.Context, args: list[str]) -> list[str]:
        parser = self.make_parser(ctx)
        parser.allow_interspersed_args = False
        given, rest, _ = parser.parse_args(args=list(args))
        command = given.get("command")
        rest = list(command if isinstance(command, tuple) else rest)
        before = args[: len(args) - len(rest)]
        ctx.default_map = _configured(str(given.get("config_file") or ""), self.get_params(ctx))
        if not rest or before[-1:] == ["--"]:
            return args
        if any(given.get(name) or ctx.default_map.get(name) for name in ("target", "selector", "targetless")):
            return [*before, "--", *rest]
        target, *after = rest
        if after and not after[0].startswith("-"):
            after = ["--", *after]
        return [*before, "--target", target, *after]


def _configured(named: str, parameters: list[click.Parameter]) -> dict[str, Any]:
    """What the configuration file says, by parameter, and which file it is; nothing if there is none."""
    caller = config.caller()
    named = named or caller.environ.get("MIRROR_RUN_CONFIG_FILE", "")
    path = Path(named) if named else configuration.find(caller.cwd, caller.home)
    return {**configuration.read(path, parameters).values, "config_file": str(path)} if path else {}


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, message="mirror-run %(version)s")
def mirror_run() -> None:
    """Run a command here as if it were a replica of a container elsewhere.

    \b
    mirror-run TARGET -- COMMAND…            mirror-run compose/api -- npm run dev
    mirror-run --target TARGET -- COMMAND…   mirror-run -n shop --target deploy/cart -- ./cart

    TARGET is container/NAME or compose/SERVICE of this machine's engine; pod/NAME, deploy/NAME, sts, ds, rs, job,
    cronjob, rollout, svc/NAME of a cluster, perhaps with /CONTAINER behind it; or a bare NAME, if only one thing
    has it. The options of `mirror-run run` (see `mirror-run run --help`) stand before or after it.
    """


@mirror_run.command("run", cls=RunCommand, context_settings={"allow_interspersed_args": True})
@opt.having(opt.RUN, opt.FILES, opt.STEAL, opt.CLUSTER, opt.TARGET_IN_CLUSTER, opt.AGENTS, opt.ENGINE)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def run(**given: Any) -> int:
    """Run COMMAND in a container that is, on the network, the target.

    Without COMMAND the app runs what the target runs.
    """
    from runner.conduct import conduct

    screen = opt.screen(given)
    if given["config_file"]:
        screen.notice(f"with the options of {given['config_file']}")
    return conduct(opt.run_options(given), config.caller(), screen)


mirror_run.add_command(run, "exec")


@mirror_run.command("ls")
@opt.having(opt.CLUSTER, opt.ENGINE)
def ls(**given: Any) -> int:
    """List the targets there are: of the engine, or (with -n, --context, --kubeconfig, or when the engine has none)
    of the cluster."""
    from runner import listing

    return asyncio.run(
        listing.targets_table(
            config.caller(), given["docker_context"], opt.cluster_options(given), opt.screen(given)
        )
    )


@mirror_run.command("ps")
@opt.having(opt.ENGINE)
def ps(**given: Any) -> int:
    """List the sessions on this engine."""
    from runner import listing

    return asyncio.run(listing.sessions_table(config.caller(), given["docker_context"], opt.screen(given)))


@mirror_run.command("stop")
@click.argument("session")
@opt.having(opt.ENGINE)
def stop(session: str, **given: Any) -> int:
    """End a session: SIGTERM for its command, and after 10 s what is left is removed."""
    from runner import listing

    return asyncio.run(listing.stop(session, config.caller(), given["docker_context"], opt.screen(given)))


@mirror_run.command("explain")
@click.argument("paths", nargs=-1, required=True)
@opt.having(opt.FILES, opt.ENGINE)
def explain(paths: tuple[str, ...], **given: Any) -> int:
    """Say for each path of the app where it leads, and which rule says so."""
    from runner.files import asked

    options = opt.files_options(given)
    asked.explain(options, config.caller(), [os.path.abspath(path) for path in paths], opt.screen(given))
    return 0


@mirror_run.command("doctor")
@click.option("--probe", is_flag=True, help="In the cluster: make agents as a run would, and measure.")
@opt.having(opt.CLUSTER, opt.AGENTS, opt.ENGINE)
def doctor(probe: bool, **given: Any) -> int:
    """Look at everything a session needs, and say what to do about what is missing."""
    from runner.examination import examine

    cluster = opt.cluster_options(given)
    return asyncio.run(
        examine(config.caller(), given["docker_context"], cluster, opt.screen(given), probe=probe)
    )


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
