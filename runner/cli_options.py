"""The options of the command line, each named as the field of RunOptions or ClusterOptions that it becomes."""

from __future__ import annotations

import dataclasses
import logging
import re
from typing import Any

import click
from click.shell_completion import CompletionItem

from runner import config, stealing
from runner.cli_help import Group, Options
from runner.errors import Refusal
from runner.kube import durations
from runner.screen import Screen, ScreenHandler

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

NOISY = ("urllib3", "docker", "asyncio", "kubernetes", "aiofastnet", "picows")
"""Libraries whose debugging is nobody's business here (and would show headers)."""


class Seconds(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """A length of time as kubectl writes it (60s, 1m30s), or a plain number of seconds; becomes a float."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return float(value)
        except ValueError:
            pass
        try:
            return durations.seconds(str(value))
        except Refusal as refusal:
            self.fail(f"{refusal.what}; {refusal.next_step}", param, ctx)


class Rate(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """Octets for each second: 25M, 500k, 1G (decimal, "B" and "/s" may follow); 0 or "none" is no limit."""

    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value).strip().lower().removesuffix("/s").removesuffix("b")
        if text == "none":
            return 0
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmg]?)", text)
        if found is None:
            self.fail(f"{value!r} is no rate; write 25M, 500k or none", param, ctx)
        return int(float(found[1]) * 1000 ** " kmg".index(found[2] or " "))


class Structured(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """What is itself a mapping: JSON on the command line, and in a configuration file as it stands."""

    name = "JSON"
    structured = True


def _many(*names: str, help: str, metavar: str = "", type: Any = None) -> Options:  # noqa: A002 - click's own words
    return click.option(*names, multiple=True, help=help, metavar=metavar or None, type=type)


def _targets(_context: click.Context, _option: click.Parameter, begun: str) -> list[CompletionItem]:
    from runner.cli_completion import targets

    return targets(begun)


RUN = Group(
    "Target and command",
    [
        click.option(
            "--target",
            default="",
            metavar="TARGET",
            help="The target; or it is the first word.",
            shell_complete=_targets,
        ),
        click.option(
            "--config-file",
            default="",
            metavar="FILE",
            help="Options, as YAML, JSON or TOML; else the project's .mirror-run.yaml.",
        ),
    ],
)

ENVIRONMENT = Group(
    "Environment",
    [
        _many(
            "-e",
            "--env",
            "env",
            metavar="NAME[=VALUE]",
            help="A variable of the app; wins over the target's.",
        ),
        _many("--env-file", "env_files", metavar="FILE", help="Lines NAME=VALUE."),
        click.option(
            "--override-env-vars-include",
            "env_include",
            default="",
            metavar="NAMES",
            help="Of the target's, only these (A;B_*).",
        ),
        click.option(
            "--override-env-vars-exclude",
            "env_exclude",
            default="",
            metavar="NAMES",
            help="Of the target's, not these.",
        ),
        _many(
            "--map-env",
            "env_mapped",
            metavar="PATTERN=VALUE",
            help="Of the target's, those whose name matches get this value.",
        ),
        _many("--unset-env", "env_unset", metavar="NAMES", help="The app has none of these (A;B_*)."),
    ],
)

CONTAINER = Group(
    "The app's container, in docker's words",
    [
        _many("-v", "--volume", "volumes", metavar="SRC:DST[:ro]", help="Mount a folder or volume."),
        click.option("-w", "--workdir", default="", metavar="DIR", help="The command's directory."),
        click.option(
            "-u",
            "--user",
            default="",
            metavar="USER[:GROUP]",
            help="Whom the command runs as; else the caller.",
        ),
        _many(
            "-p",
            "--publish",
            "publish",
            metavar="[HOST:]PORT",
            help="Publish a port of the app on this machine.",
        ),
        click.option("--name", default="", metavar="NAME", help="The app container's name."),
        click.option(
            "--entrypoint",
            default=None,
            metavar="PROGRAM",
            help="Replace the image's ENTRYPOINT (and drop its CMD).",
        ),
        click.option("--image", default="", metavar="IMAGE", help="Run in this image, not in the target's."),
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
            "--pull",
            type=click.Choice(["always", "missing", "never"]),
            default="missing",
            show_default=True,
            help="When to pull that image.",
        ),
        click.option("--platform", default="", metavar="OS/ARCH", help="The image's platform."),
        click.option("--network", default="", metavar="NETWORK", help="Attach this Docker network too."),
        _many("--add-host", "add_hosts", metavar="NAME:IP", help="A line for the app's /etc/hosts."),
        click.option("--hostname", default="", metavar="NAME", help="A host name other than the target's."),
        click.option(
            "-i", "--interactive/--no-interactive", default=None, help="Give the app our stdin (the default)."
        ),
        click.option("-t", "small_t", is_flag=True, help="A terminal, if we have one (the default)."),
        click.option("--tty/--no-tty", default=None, help="A terminal, whether or not we have one."),
        click.option("-m", "--memory", default="", metavar="SIZE", help="Memory limit of the app."),
        click.option("--cpus", type=float, default=0.0, metavar="NUMBER", help="CPU limit of the app."),
        _many("--label", "labels", metavar="NAME=VALUE", help="A label of the app container."),
        _many("--cap-add", metavar="NAME", help="A capability for the app."),
        click.option(
            "--rm", is_flag=True, help="Accepted and without effect: nothing of a run is ever kept."
        ),
    ],
)

PORTS = Group(
    "Ports",
    [
        _many(
            "--map-port",
            "map_ports",
            metavar="APP:TARGET",
            help="Traffic of the target's port goes to this port of the app.",
        ),
        click.option(
            "--ignore-port",
            "ignore_ports",
            type=click.IntRange(1, 65535),
            multiple=True,
            metavar="PORT",
            help="Leave this port alone.",
        ),
    ],
)

STEAL = Group(
    "Stealing, and choosing requests",
    [
        click.option(
            "--steal",
            "--tcp-steal",
            "steal",
            is_flag=True,
            help="The app answers the target's clients, in its place.",
        ),
        _many(
            "--http-header",
            "--http-header-filter",
            "http_headers",
            metavar="REGEX",
            help="Only requests with such a header, as Name: value, come to the app. All that are given must match.",
        ),
        _many(
            "--http-filter",
            "http_filters",
            metavar="JSON",
            type=Structured(),
            help='... or all that this asks for: {"header": "^x-user: anna$", "path": "^/api"}. Any of several.',
        ),
        _many(
            "--http-path", "--http-path-filter", "http_paths", metavar="REGEX", help="... with such a path."
        ),
        _many(
            "--http-method",
            "--http-method-filter",
            "http_methods",
            metavar="METHOD",
            help="... of one of these methods.",
        ),
        click.option(
            "--steal-existing",
            is_flag=True,
            help="Close connections that are open, so that their clients come again.",
        ),
        click.option(
            "--steal-probes",
            is_flag=True,
            help="The target's own probes too: a breakpoint may restart its pod.",
        ),
        click.option(
            "--steal-local",
            is_flag=True,
            help="What comes over the target's loopback too, unless it asks ::1.",
        ),
        _many(
            "--mesh-uid",
            "mesh_uids",
            metavar="UID",
            type=click.IntRange(0, 2**32 - 2),
            help="A mesh's proxy with this user id brings clients over loopback, as Istio's 1337 and Linkerd's 2102.",
        ),
        click.option(
            "--on-app-gone",
            type=click.Choice(list(stealing.ON_APP_GONE)),
            default="target",
            show_default=True,
            help="A request whose app went away unanswered.",
        ),
        click.option(
            "--on-link-lost-after",
            type=Seconds(),
            default="5s",
            metavar="TIME",
            show_default=True,
            help="How long such a request waits for a way that is cut.",
        ),
        click.option(
            "--drain",
            type=Seconds(),
            default="10m",
            metavar="TIME",
            show_default=True,
            help="How long others' connections may go on through the agent after the end.",
        ),
    ],
)

FILES = Group(
    "The target's files",
    [
        click.option(
            "--fs-mode",
            type=click.Choice(["local", "read", "write", "overrides"]),
            help="Which of the target's files the app has; read, where nothing is said and they can be had.",
        ),
        _many("--fs-local", "fs_local", metavar="REGEX", help="Paths that stay the app container's."),
        _many("--fs-read-only", "fs_read_only", metavar="REGEX", help="Paths that are read from the target."),
        _many(
            "--fs-read-write",
            "fs_read_write",
            metavar="REGEX",
            help="Paths that are the target's, written too.",
        ),
        _many("--fs-not-found", "fs_not_found", metavar="REGEX", help="Paths that are not there."),
        _many(
            "--map-path",
            "fs_mapped",
            metavar="APP:TARGET",
            help="A path of the app's is another of the target's.",
        ),
    ],
)

CLUSTER = Group(
    "Cluster",
    [
        click.option(
            "-n",
            "--namespace",
            "--target-namespace",
            "namespace",
            default="",
            metavar="NS",
            help="The target's namespace.",
        ),
        click.option("--context", default="", metavar="NAME", help="The context of the kubeconfig."),
        click.option("--kubeconfig", default="", metavar="FILE", help="The kubeconfig; else $KUBECONFIG's."),
        click.option(
            "--as", "as_user", default="", metavar="USER", help="Act as this user, as kubectl --as."
        ),
        _many("--as-group", "as_groups", metavar="GROUP", help="And as one of these groups."),
    ],
)

TARGET_IN_CLUSTER = Group(
    "The target in the cluster",
    [
        click.option(
            "-c", "--container", default="", metavar="NAME", help="The container of the target's pods."
        ),
        click.option("-l", "--selector", default="", metavar="LABELS", help="The pods with these labels."),
        click.option("--pod", default="", metavar="NAME", help="Of the target's pods, this one alone."),
        click.option("--targetless", is_flag=True, help="No target: only a place in the cluster's network."),
        click.option(
            "--pod-running-timeout",
            type=Seconds(),
            default="60s",
            metavar="TIME",
            show_default=True,
            help="How long to wait for a pod of the target to be ready.",
        ),
        click.option(
            "--mirror-rate",
            type=Rate(),
            default="25M",
            metavar="RATE",
            show_default=True,
            help="Copies over a port-forward: octets for each second.",
        ),
    ],
)

AGENTS = Group(
    "Agents in the cluster",
    [
        click.option(
            "--agent",
            type=click.Choice(["daemonset", "job", "ephemeral"]),
            help="How agents get there; else the installed daemonset, else a job.",
        ),
        click.option("--ephemeral-container", is_flag=True, help="The same as --agent ephemeral."),
        click.option("--agent-namespace", default="", metavar="NS", help="Where jobs with agents are made."),
        click.option(
            "--agent-image", default="", metavar="IMAGE", help="The agent's image, for the cluster."
        ),
        click.option(
            "--agent-ttl",
            type=Seconds(),
            default="30s",
            metavar="TIME",
            show_default=True,
            help="How long a finished job with an agent is kept.",
        ),
        _many(
            "--agent-pull-secret",
            "agent_pull_secrets",
            metavar="NAME",
            help="A secret of their namespace for pulling a job's image.",
        ),
        _many("--agent-label", "agent_labels", metavar="KEY=VALUE", help="A label of jobs with agents."),
        _many("--agent-annotation", "agent_annotations", metavar="KEY=VALUE", help="An annotation of them."),
    ],
)

ENGINE = Group(
    "General",
    [
        click.option(
            "--docker-context", default="", metavar="NAME", help="The docker context of the engine."
        ),
        click.option("-q", "--quiet", is_flag=True, help="Errors only."),
        click.option("--verbose", is_flag=True, help="Say more (--log-level info)."),
        click.option(
            "--log-level", type=click.Choice(list(LEVELS)), help="What goes to stderr besides progress."
        ),
    ],
)


def run_options(given: dict[str, Any]) -> config.RunOptions:
    """What was given to ``run``, as a value."""
    names = {field.name for field in dataclasses.fields(config.RunOptions)} - {"cluster", "log_level"}
    found = {name: given[name] for name in names} | {"fs_mode": given["fs_mode"] or ""}
    return config.RunOptions(**found, cluster=cluster_options(given), log_level=level(given))


def files_options(given: dict[str, Any]) -> config.RunOptions:
    """What was given about files alone."""
    found = {name: given[name] for name in given if name.startswith("fs_")}
    return config.RunOptions("", **found | {"fs_mode": given["fs_mode"] or ""})


def cluster_options(given: dict[str, Any]) -> config.ClusterOptions:
    """What was given about the cluster; not every command takes all of it."""
    names = {field.name for field in dataclasses.fields(config.ClusterOptions)}
    found = {name: given[name] for name in names if name in given}
    if given.get("ephemeral_container"):
        if found["agent"] not in (None, "ephemeral"):
            raise click.UsageError(f"--ephemeral-container, and --agent {found['agent']}: name one of them")
        found["agent"] = "ephemeral"
    found["agent"] = found.get("agent") or ""
    return config.ClusterOptions(**found)


def level(given: dict[str, Any]) -> int:
    """As of logging."""
    return LEVELS[given["log_level"] or ("info" if given["verbose"] else "warning")]


PROBING = Group(
    "What is looked at",
    [click.option("--probe", is_flag=True, help="In the cluster: make agents as a run would, and measure.")],
)

OUTPUT = Group(
    "Output",
    [
        click.option(
            "-o",
            "--output",
            type=click.Choice(["table", "json"]),
            default="table",
            show_default=True,
            help="How: for people, or for programs.",
        ),
    ],
)


def screen(given: dict[str, Any]) -> Screen:
    """The screen that was asked for, with the log on it."""
    made = Screen(quiet=given["quiet"], json=given.get("output") == "json")
    logging.basicConfig(level=level(given), handlers=[ScreenHandler(made)])
    if level(given) <= logging.DEBUG:
        for noisy in NOISY:
            logging.getLogger(noisy).setLevel(logging.INFO)
    return made
