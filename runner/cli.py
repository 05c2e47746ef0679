"""The command line: what was written becomes RunOptions, and what comes back becomes an exit code. Decides
nothing else.

``run`` is implied; ``exec`` is its other name. TARGET stands first, or after --target; then options, ``--``
and the command.
"""

from __future__ import annotations

import asyncio
import difflib
import importlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner import VERSION, config, configuration
from runner import cli_options as opt
from runner.cli_help import WIDTH, Sectioned, having
from runner.errors import FAILED, Interrupted, Refusal
from runner.screen import Screen

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

ELSEWHERE = {
    "completion": "runner.cli_completion",
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

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Commands; and what may begin an implied ``run``: targets and options."""
        implied = run.make_context("run", [], parent=ctx, resilient_parsing=True)
        more = (
            run.shell_complete(implied, incomplete)
            if incomplete.startswith("-")
            else offered(implied, incomplete)
        )
        return [*super().shell_complete(ctx, incomplete), *more]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args[:1] == ["help"] and all(word in self.list_commands(ctx) for word in args[1:]):
            args = [*args[1:], "--help"]
        if args and args[0] not in self.list_commands(ctx) and args[0] not in ("--help", "-h", "--version"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


class RunCommand(Sectioned):
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
        try:
            ctx.default_map = _configured(str(given.get("config_file") or ""), self.get_params(ctx))
        except Refusal:
            if not ctx.resilient_parsing:  # which is a shell's TAB
                raise
            ctx.default_map = {}
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


def offered(ctx: click.Context, begun: str) -> list[CompletionItem]:
    """At a shell's TAB, where a word of ``run`` belongs: targets until there is one, then the command's words."""
    from runner.cli_completion import files, targets

    named = any(ctx.params.get(name) for name in ("target", "selector", "targetless"))
    return files(begun) if named else targets(begun)


@click.group(
    cls=Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": WIDTH},
)
@click.version_option(VERSION, message="mirror-run %(version)s")
@click.pass_context
def mirror_run(context: click.Context) -> None:
    """Run a command here as if it were a replica of a container elsewhere.

    \b
    mirror-run TARGET -- COMMAND…            mirror-run compose/api -- npm run dev
    mirror-run --target TARGET -- COMMAND…   mirror-run -n shop --target deploy/cart -- ./cart

    TARGET is container/NAME or compose/SERVICE of this machine's engine; pod/NAME, deploy/NAME, sts, ds, rs, job,
    cronjob, rollout, svc/NAME of a cluster, perhaps with /CONTAINER behind it; or a bare NAME, if only one thing
    has it. The options of `mirror-run run` (see `mirror-run run --help`) stand before or after it.
    """
    if context.invoked_subcommand is None:
        Screen().say(context.get_help())


@mirror_run.command("run", cls=RunCommand, context_settings={"allow_interspersed_args": True})
@having(
    *(opt.RUN, opt.ENVIRONMENT, opt.CONTAINER, opt.PORTS, opt.FILES, opt.STEAL),
    *(opt.CLUSTER, opt.TARGET_IN_CLUSTER, opt.AGENTS, opt.ENGINE),
)
@click.argument(
    "command", nargs=-1, type=click.UNPROCESSED, shell_complete=lambda ctx, _, begun: offered(ctx, begun)
)
def run(**given: Any) -> int:
    """Run COMMAND in a container that is the target to the network.

    Without COMMAND the app runs what the target runs.
    """
    from runner.conduct import conduct

    screen = opt.screen(given)
    if given["config_file"]:
        screen.notice(f"with the options of {given['config_file']}")
    return conduct(opt.run_options(given), config.caller(), screen)


mirror_run.add_command(run, "exec")


@mirror_run.command("ls", cls=Sectioned)
@having(opt.OUTPUT, opt.CLUSTER, opt.ENGINE)
def ls(**given: Any) -> int:
    """List the targets that there are.

    Those of the engine; of the cluster with -n, --context or --kubeconfig, or when the engine has none.
    -q: names alone.
    """
    from runner import listing

    return asyncio.run(
        listing.targets_table(
            config.caller(), given["docker_context"], opt.cluster_options(given), opt.screen(given)
        )
    )


@mirror_run.command("ps", cls=Sectioned)
@having(opt.OUTPUT, opt.CLUSTER, opt.ENGINE)
def ps(**given: Any) -> int:
    """List the sessions on this engine.

    Below them: where connections of clients still go through an agent whose session is over; with -n, --context or
    --kubeconfig in a namespace of the cluster too. -q: their names alone, as `mirror-run stop` takes them.
    """
    from runner import listing

    return asyncio.run(
        listing.sessions_table(
            config.caller(), given["docker_context"], opt.cluster_options(given), opt.screen(given)
        )
    )


@mirror_run.command("stop", cls=Sectioned)
@click.argument("sessions", nargs=-1, required=True, metavar="SESSION…")
@having(opt.ENGINE)
def stop(sessions: tuple[str, ...], **given: Any) -> int:
    """End sessions.

    Each command gets SIGTERM, as from `docker stop`; after 10 s what is left is killed and removed. The beginning of a
    session's name will do. `mirror-run ps` lists them.
    """
    from runner import listing

    return asyncio.run(listing.stop(sessions, config.caller(), given["docker_context"], opt.screen(given)))


@mirror_run.command("explain", cls=Sectioned)
@click.argument("paths", nargs=-1, required=True, metavar="PATH…")
@having(opt.OUTPUT, opt.FILES, opt.ENGINE)
def explain(paths: tuple[str, ...], **given: Any) -> int:
    """Say where paths of the app lead, and which rule says so.

    With the options that a run would have. No target is asked: what is mounted there is not known.
    """
    from runner.files import asked

    options = opt.files_options(given)
    asked.explain(options, config.caller(), [os.path.abspath(path) for path in paths], opt.screen(given))
    return 0


@mirror_run.command("doctor", cls=Sectioned)
@having(opt.PROBING, opt.OUTPUT, opt.CLUSTER, opt.AGENTS, opt.ENGINE)
def doctor(probe: bool, **given: Any) -> int:
    """Look at what a session needs, and say what is to be done.

    -q: only what is not well.
    """
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
        screen.refusal(Refusal(error.format_message(), f"`{_whose(error, args)} --help` shows what there is"))
    except (click.Abort, KeyboardInterrupt):
        return 130
    except Refusal as refusal:
        screen.refusal(_meant(args, refusal))
        return refusal.code
    except Interrupted as interrupted:
        return interrupted.code
    return FAILED


def _whose(error: click.ClickException, args: list[str]) -> str:
    """Whose help to read; click's parser does not always say."""
    if isinstance(error, click.UsageError) and error.ctx and error.ctx.parent:
        return error.ctx.command_path
    named = args and args[0] in mirror_run.list_commands(click.Context(mirror_run))
    return f"mirror-run {args[0] if named else 'run'}"


def _meant(args: list[str], refusal: Refusal) -> Refusal:
    """With a hint, if what was taken for a target is nearly a command's name and there is no such target."""
    words = mirror_run.list_commands(click.Context(mirror_run))
    near = difflib.get_close_matches(args[0], words, 1, 0.75) if args else []
    if not near or args[0] in words or not refusal.what.startswith(f"there is no {args[0]}"):
        return refusal
    return Refusal(
        refusal.what, f"is `mirror-run {near[0]}` meant? Else: {refusal.next_step}", code=refusal.code
    )


if __name__ == "__main__":
    main()
