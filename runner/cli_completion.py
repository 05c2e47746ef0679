"""``mirror-run completion``, and what of the machine is offered at TAB: the targets of its engine.

click has the shells' scripts, and asks this program with a variable set; here is only what it cannot know.
"""

from __future__ import annotations

import asyncio
from contextlib import closing, suppress

import click
from click.shell_completion import CompletionItem, get_completion_class

from runner import config
from runner.cli_help import Sectioned
from runner.screen import Screen

VARIABLE = "_MIRROR_RUN_COMPLETE"
"""By which a shell's script asks."""

SHELLS = ("bash", "zsh", "fish")


@click.command("completion", cls=Sectioned)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> int:
    """Print a shell's script for completion, targets included.

    \b
    bash    source <(mirror-run completion bash)       # in ~/.bashrc
    zsh     source <(mirror-run completion zsh)        # in ~/.zshrc
    fish    mirror-run completion fish > ~/.config/fish/completions/mirror-run.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None  # click has these three
    Screen().say(kind(context.find_root().command, {}, "mirror-run", VARIABLE).source().rstrip("\n"))
    return 0


def targets(begun: str) -> list[CompletionItem]:
    """Of the engine, that begin so; none without one: a TAB is no place for a sentence."""
    from runner.errors import Refusal

    with suppress(Refusal):
        return [CompletionItem(name) for name in asyncio.run(_there()) if name.startswith(begun)]
    return []


def files(begun: str) -> list[CompletionItem]:
    """The shell's own: of the command and its words only it knows."""
    return [CompletionItem(begun, type="file")]


async def _there() -> list[str]:
    from runner import contexts, engine
    from runner import targets as known

    caller = config.caller()
    found = contexts.choose(caller.environ, caller.home)
    with closing(await engine.connect(found)) as there, suppress(engine.EngineError):
        containers = known.listed(await there.containers())
        return sorted({known.names([one])[0] for one in containers})
    return []
