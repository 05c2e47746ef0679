"""What the user asked for and who the user is, as values. The only file of the runner that reads the
process's environment."""

from __future__ import annotations

import os
import platform
import pwd
import tempfile
from collections.abc import Mapping
from pathlib import Path

from wire.record import record


@record
class ClusterOptions:
    """Which cluster, what of it, and how agents get there; kubectl's and mirrord's options have their meaning.
    Empty means: not given. Times are seconds; ``mirror_rate`` octets for each second, 0 for no limit."""

    namespace: str = ""
    context: str = ""
    kubeconfig: str = ""
    as_user: str = ""
    as_groups: tuple[str, ...] = ()
    container: str = ""
    selector: str = ""
    pod: str = ""
    targetless: bool = False
    agent: str = ""
    agent_namespace: str = ""
    agent_image: str = ""
    agent_ttl: float = 30.0
    agent_pull_secrets: tuple[str, ...] = ()
    agent_labels: tuple[str, ...] = ()
    agent_annotations: tuple[str, ...] = ()
    pod_running_timeout: float = 60.0
    mirror_rate: int = 25_000_000

    @property
    def named(self) -> bool:
        """Whether a cluster, or something that only a cluster has, was asked for."""
        return any(
            (self.namespace, self.context, self.kubeconfig, self.container, self.selector, self.pod)
        ) or bool(self.targetless or self.agent)


@record
class RunOptions:
    """The options of ``run``, as given; docker's have docker's meaning. Empty means: not given."""

    target: str
    command: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    env_files: tuple[str, ...] = ()
    env_include: str = ""
    env_exclude: str = ""
    env_mapped: tuple[str, ...] = ()
    env_unset: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    workdir: str = ""
    user: str = ""
    publish: tuple[str, ...] = ()
    name: str = ""
    entrypoint: str | None = None
    image: str = ""
    build: str = ""
    dockerfile: str = ""
    pull: str = "missing"
    platform: str = ""
    network: str = ""
    add_hosts: tuple[str, ...] = ()
    hostname: str = ""
    interactive: bool | None = None
    tty: bool | None = None
    memory: str = ""
    cpus: float = 0.0
    labels: tuple[str, ...] = ()
    cap_add: tuple[str, ...] = ()
    map_ports: tuple[str, ...] = ()
    ignore_ports: tuple[int, ...] = ()
    steal: bool = False
    http_headers: tuple[str, ...] = ()
    http_paths: tuple[str, ...] = ()
    http_methods: tuple[str, ...] = ()
    http_filters: tuple[str, ...] = ()
    steal_existing: bool = False
    steal_probes: bool = False
    steal_local: bool = False
    mesh_uids: tuple[int, ...] = ()
    on_app_gone: str = "target"
    on_link_lost_after: float = 5.0  # seconds, as drain
    drain: float = 600.0
    cluster: ClusterOptions = ClusterOptions()
    fs_mode: str = ""
    fs_local: tuple[str, ...] = ()
    fs_read_only: tuple[str, ...] = ()
    fs_read_write: tuple[str, ...] = ()
    fs_not_found: tuple[str, ...] = ()
    fs_mapped: tuple[str, ...] = ()
    docker_context: str = ""
    quiet: bool = False
    log_level: int = 30


@record
class Caller:
    """Who runs mirror-run, where, and on what terminal."""

    uid: int
    gid: int
    name: str
    home: Path
    cwd: Path
    system: str  # as of uname(1): Linux, Darwin
    environ: Mapping[str, str]
    stdin_terminal: bool = False
    stdout_terminal: bool = False
    stdin_ours: bool = True  # false: a background job may not read its terminal (it would be stopped)


def caller() -> Caller:
    """The caller as the operating system tells."""
    uid = os.getuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = f"u{uid}"
    return Caller(
        uid=uid,
        gid=os.getgid(),
        name=name,
        home=Path(os.path.expanduser("~")),
        cwd=_working_directory(),
        system=platform.system(),
        environ=os.environ,
        stdin_terminal=_is_terminal(0),
        stdout_terminal=_is_terminal(1),
        stdin_ours=_may_read(0),
    )


def cache_folder() -> Path:
    """Where this machine keeps what can be made again (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "mirror-run"


def runtime_folder() -> Path:
    """Where this machine keeps what lives as long as a process (XDG Base Directory Specification)."""
    return Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())


def _working_directory() -> Path:
    """$PWD where it is true (it keeps symbolic links, as the user's shell shows them), else what the kernel says."""
    said, real = os.environ.get("PWD", ""), os.getcwd()
    try:
        same = bool(said) and os.path.samefile(said, real)
    except OSError:
        same = False
    return Path(said if same else real)


def _is_terminal(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return False


def _may_read(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    if not _is_terminal(fd):
        return True
    try:
        return os.tcgetpgrp(fd) == os.getpgrp()
    except OSError:
        return False
