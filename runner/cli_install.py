"""`mirror-run install | upgrade | uninstall`, for those who run a cluster: what was written becomes options."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import click
import yaml

from runner import config
from runner.kube.api import Cluster, KubeOptions, connect
from runner.kube.install import install, uninstall, upgrade
from runner.kube.install_manifests import NAMESPACE, InstallOptions, manifests
from runner.screen import Screen


class Plain(yaml.SafeDumper):
    """No anchors: what stands twice is written twice."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - PyYAML asks with it
        return True


CLUSTER_OPTIONS = [
    click.option("--context", default="", metavar="NAME", help="The kubeconfig's context to use."),
    click.option(
        "--kubeconfig", default="", metavar="FILE", help="Instead of $KUBECONFIG and ~/.kube/config."
    ),
    click.option("--as", "as_user", default="", metavar="USER", help="Act as this user, as kubectl's."),
    click.option(
        "--as-group", "as_groups", multiple=True, metavar="GROUP", help="And as member of this group."
    ),
    click.option("-q", "--quiet", is_flag=True, help="Errors only."),
]

INSTALL_OPTIONS = [
    click.option(
        "--image",
        "--agent-image",
        default=None,
        metavar="REF",
        help="The agent's image, where nodes find it.",
    ),
    click.option(
        "-n",
        "--namespace",
        "--agent-namespace",
        default=None,
        metavar="NAME",
        help=f"Where the agents run.  [default: {NAMESPACE}]",
    ),
    click.option("--node-selector", multiple=True, metavar="K=V", help="Only on nodes with this label."),
    click.option(
        "--toleration",
        "tolerations",
        multiple=True,
        metavar="K[=V][:EFFECT]",
        help="Only on nodes whose taints are these.  [default: every taint]",
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
    click.option("--dry-run", is_flag=True, help="Print what would be applied."),
    click.option("-o", "--output", type=click.Choice(["yaml"]), default=None, help="With --dry-run: how."),
]


def _with(options: list[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    def add(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return add


@click.command("install")
@_with(INSTALL_OPTIONS)
@_with(CLUSTER_OPTIONS)
def install_command(**given: Any) -> int:
    """Install the agents, the rights and the admission policy into a cluster; once more changes nothing."""
    options = InstallOptions(**({"image": default_image()} | _given(given)))
    if _only_shown(given):
        Screen().say(as_yaml(options))
        return 0
    return _at_cluster(given, lambda cluster, say: install(cluster, options, say))


@click.command("upgrade")
@_with(INSTALL_OPTIONS[:-2])
@_with(CLUSTER_OPTIONS)
def upgrade_command(**given: Any) -> int:
    """Bring an installation to this version, with the options it was installed with."""
    changed = {"image": default_image()} | _given(given)
    return _at_cluster(given, lambda cluster, say: upgrade(cluster, changed, say))


@click.command("uninstall")
@click.option(
    "-n", "--namespace", "--agent-namespace", default="", metavar="NAME", help="Where the agents run."
)
@_with(CLUSTER_OPTIONS)
def uninstall_command(**given: Any) -> int:
    """Remove everything that install made; running sessions end."""
    return _at_cluster(given, lambda cluster, say: uninstall(cluster, given["namespace"], say))


COMMANDS = (install_command, upgrade_command, uninstall_command)


def as_yaml(options: InstallOptions) -> str:
    """What install applies, for kubectl or a repository: the same octets for the same options."""
    text: str = yaml.dump_all(manifests(options), Dumper=Plain, sort_keys=False, width=120)
    return text.rstrip("\n")


def default_image() -> str:
    """What this version's agents are called."""
    from runner import images

    return images.names().agent


def _given(given: dict[str, Any]) -> dict[str, Any]:
    """Of the options, those that were."""
    names = InstallOptions.__dataclass_fields__.keys() & given.keys()
    return {name: given[name] for name in names if given[name] not in (None, ())}


def _only_shown(given: dict[str, Any]) -> bool:
    if given["output"] and not given["dry_run"]:
        raise click.UsageError("-o says how --dry-run prints: give that too")
    return bool(given["dry_run"])


def _at_cluster(
    given: dict[str, Any], act: Callable[[Cluster, Callable[[str], None]], Awaitable[None]]
) -> int:
    caller, screen = config.caller(), Screen(quiet=given["quiet"])
    where = KubeOptions(given["kubeconfig"], given["context"], "", given["as_user"], given["as_groups"])

    async def whole() -> int:
        cluster = await connect(where, caller.environ, caller.home)
        try:
            screen.notice(f"context {cluster.context} ({cluster.server})")
            await act(cluster, screen.notice)
            return 0
        finally:
            await cluster.close()

    return asyncio.run(whole())
