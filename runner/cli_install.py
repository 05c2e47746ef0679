"""`mirror-run install | upgrade | uninstall`, for those who run a cluster: what was written becomes options."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import click

from runner import cli_options as opt
from runner import config
from runner.cli_help import Group, Sectioned, having

if TYPE_CHECKING:
    from runner.kube.api import Cluster

Say = Callable[[str], None]

INSTALLED = Group(
    "What is installed",
    [
        click.option(
            "--image", "--agent-image", "image", default="", metavar="REF", help="The agent's image."
        ),
        click.option("--node-selector", multiple=True, metavar="K=V", help="Only on nodes with this label."),
        click.option(
            "--toleration",
            "tolerations",
            multiple=True,
            metavar="K[=V][:EFFECT]",
            help="Of taints, only these.  [default: every taint]",
        ),
        click.option("--pull-secret", "pull_secrets", multiple=True, metavar="NAME", help="For the image."),
        click.option(
            "--connect",
            multiple=True,
            metavar="GROUP",
            help="Members may reach the agents' port; opens nothing by itself.",
        ),
        click.option(
            "--like-exec/--no-like-exec",
            default=None,
            help="Whoever may create pods/exec in a namespace has all rights there.",
        ),
    ],
)

WHERE = Group(
    "Where",
    [
        click.option(
            "-n",
            "--namespace",
            "--agent-namespace",
            "namespace",
            default="",
            metavar="NS",
            help="Where the agents run.",
        ),
    ],
)

SHOWN = Group(
    "Dry run",
    [
        click.option("--dry-run", is_flag=True, help="Print what would be applied."),
        click.option(
            "-o", "--output", type=click.Choice(["yaml"]), default=None, help="With --dry-run: how."
        ),
    ],
)

TOLD = Group("Dry run", [click.option("--dry-run", is_flag=True, help="Say what would go, and leave it.")])

CLUSTER = Group("Cluster", opt.CLUSTER[1:])
"""Without -n, which here is about the agents."""

SAYING = Group("General", opt.ENGINE[1:])
"""Without the engine."""


@click.command("install", cls=Sectioned)
@having(INSTALLED, WHERE, SHOWN, CLUSTER, SAYING)
def install(**given: Any) -> int:
    """Install the agents, their rights and policy into a cluster.

    Once more changes nothing.
    """
    from runner.kube.install import install as apply
    from runner.kube.install_manifests import InstallOptions
    from runner.kube.rendered import as_yaml

    if given["output"] and not given["dry_run"]:
        raise click.UsageError("-o says how --dry-run prints: give that too")
    options = InstallOptions(**_given(given))
    if given["dry_run"]:
        opt.screen(given).say(as_yaml(options).rstrip("\n"))
        return 0
    return _at_cluster(given, lambda cluster, say: apply(cluster, options, say))


@click.command("upgrade", cls=Sectioned)
@having(INSTALLED, WHERE, CLUSTER, SAYING)
def upgrade(**given: Any) -> int:
    """Bring an installation to this version.

    It keeps the options that it was installed with, but for those that are given.
    """
    from runner.kube.install import upgrade as apply

    return _at_cluster(given, lambda cluster, say: apply(cluster, _given(given), say))


@click.command("uninstall", cls=Sectioned)
@having(WHERE, TOLD, CLUSTER, SAYING)
def uninstall(**given: Any) -> int:
    """Remove everything that install made.

    Sessions that run with its agents end.
    """
    from runner.kube.install import uninstall as remove

    return _at_cluster(
        given, lambda cluster, say: remove(cluster, given["namespace"], say, dry=given["dry_run"])
    )


def _given(given: dict[str, Any]) -> dict[str, Any]:
    """Of what an installation is made with, what was said; the image always, for it is of this version."""
    from runner.kube.agent_images import reference
    from runner.kube.install_manifests import InstallOptions

    image = reference(given["image"], config.caller().environ)
    names = InstallOptions.__dataclass_fields__.keys() & given.keys()
    return {name: given[name] for name in names if given[name] not in (None, "", ())} | {"image": image}


def _at_cluster(given: dict[str, Any], act: Callable[[Cluster, Say], Awaitable[None]]) -> int:
    from runner.kube.api import KubeError, KubeOptions, connect

    caller, screen = config.caller(), opt.screen(given)
    where = KubeOptions(given["kubeconfig"], given["context"], "", given["as_user"], given["as_groups"])

    async def whole() -> int:
        cluster = await connect(where, caller.environ, caller.home, attended=caller.stdin_terminal)
        try:
            screen.notice(f"context {cluster.context} ({cluster.server})")
            await act(cluster, screen.notice)
            return 0
        except KubeError as error:
            raise error.refusal() from error
        finally:
            await cluster.close()

    return asyncio.run(whole())
