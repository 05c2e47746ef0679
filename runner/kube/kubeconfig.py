"""Kubeconfig files, merged and chosen from as kubectl does; it reads those files and nothing else.

Not `kubernetes.config`: importing it takes 0.2 s of each start, and it lets the last file's current-context win, takes
a client certificate's path to be relative to the cluster's file, and keeps the first error of a plugin in a log.
(kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig, "Merging kubeconfig files".)
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.errors import Refusal
from wire.record import record

Json = dict[str, Any]

_CLUSTER_PATHS = ("certificate-authority",)
_USER_PATHS = ("client-certificate", "client-key", "tokenFile")
_PROVIDER_PATHS = ("idp-certificate-authority",)
_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@record
class Chosen:
    """One context, its paths absolute. ``files`` are those that were read, for error messages; ``user_file`` is where
    the user's entry, ``user_name``, came from, to whose folder its exec command may be relative."""

    context: str
    namespace: str
    cluster: Json
    user: Json
    files: tuple[str, ...]
    user_name: str = ""
    user_file: str = ""

    @property
    def folder(self) -> str:
        """Of the user's entry."""
        return os.path.dirname(self.user_file)


@dataclass(slots=True)
class _Merged:
    """Entries by name; the first file that has one wins, whole."""

    current: str = ""
    clusters: dict[str, Json] = field(default_factory=dict)
    users: dict[str, tuple[Json, str]] = field(default_factory=dict)
    contexts: dict[str, Json] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)


def choose(
    environ: Mapping[str, str],
    home: Path,
    *,
    kubeconfig: str = "",
    context: str = "",
    account: Path = _ACCOUNT,
) -> Chosen:
    """The context asked for, or the current one; with no kubeconfig at all, the service account of this pod.

    ``kubeconfig`` is --kubeconfig: that file alone. Refusal for what is missing or cannot be read."""
    merged = _Merged()
    for path in _paths(environ, home, kubeconfig):
        _merge(merged, path, must=bool(kubeconfig))
    if not merged.files and not context and (inside := _in_cluster(environ, account)):
        return inside
    return _pick(merged, context, _said(environ, home, kubeconfig))


def _paths(environ: Mapping[str, str], home: Path, kubeconfig: str) -> list[Path]:
    if kubeconfig:
        return [Path(kubeconfig)]
    if listed := environ.get("KUBECONFIG"):
        return [_in_home(path, home) for path in listed.split(os.pathsep) if path]
    return [home / ".kube" / "config"]


def _in_home(path: str, home: Path) -> Path:
    return home / path[2:] if path.startswith("~/") else Path(path)


def _said(environ: Mapping[str, str], home: Path, kubeconfig: str) -> str:
    return kubeconfig or environ.get("KUBECONFIG") or str(home / ".kube" / "config")


def _merge(merged: _Merged, path: Path, *, must: bool) -> None:
    """kubectl passes over files of KUBECONFIG that are not there; one named by --kubeconfig must be."""
    import yaml  # 20 ms that a run on plain Docker does not pay

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as quick, where PyYAML has it
    try:
        found = yaml.load(path.read_text(), loader)  # both are safe loaders
    except FileNotFoundError:
        if must:
            raise Refusal(f"there is no kubeconfig {path}", "check --kubeconfig") from None
        return
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise Refusal(f"the kubeconfig {path} cannot be read: {error}", "mend it, or name another") from error
    if found is None:
        found = {}
    if not isinstance(found, dict):
        raise Refusal(f"{path} is no kubeconfig", "mend it, or name another with --kubeconfig")
    folder = str(path.parent.absolute())
    merged.files.append(str(path))
    merged.current = merged.current or str(found.get("current-context") or "")
    for name, cluster in _named(found, "clusters", "cluster", path):
        merged.clusters.setdefault(name, _absolute(cluster, _CLUSTER_PATHS, folder))
    for name, user in _named(found, "users", "user", path):
        merged.users.setdefault(name, (_user(user, folder), str(path.absolute())))
    for name, context in _named(found, "contexts", "context", path):
        merged.contexts.setdefault(name, context)


def _named(found: Json, many: str, one: str, path: Path) -> list[tuple[str, Json]]:
    entries = found.get(many) or []
    try:
        return [(str(entry["name"]), dict(entry.get(one) or {})) for entry in entries]
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise Refusal(
            f"the {many} of kubeconfig {path} are not what they should be", "mend the file"
        ) from error


def _user(entry: Json, folder: str) -> Json:
    entry = _absolute(entry, _USER_PATHS, folder)
    provider = entry.get("auth-provider")
    if isinstance(provider, dict) and isinstance(config := provider.get("config"), dict):
        entry["auth-provider"] = provider | {"config": _absolute(config, _PROVIDER_PATHS, folder)}
    return entry


def _absolute(entry: Json, keys: tuple[str, ...], folder: str) -> Json:
    paths = {key: os.path.join(folder, entry[key]) for key in keys if entry.get(key)}
    return entry | paths


def _pick(merged: _Merged, asked: str, said: str) -> Chosen:
    name = asked or merged.current
    if not merged.files:
        raise Refusal(
            f"there is no kubeconfig at {said}",
            "name one with --kubeconfig or KUBECONFIG; your cluster's docs say how to get it",
        )
    if not name:
        raise Refusal(
            f"no context is chosen in {said}", f"choose one with --context: {_listed(merged.contexts)}"
        )
    if (context := merged.contexts.get(name)) is None:
        by = "--context" if asked else "current-context"
        near = difflib.get_close_matches(name, merged.contexts, n=1)
        guess = f"; did you mean {near[0]}?" if near else ""
        raise Refusal(
            f"there is no context {name!r} ({by}) in {said}", f"there is {_listed(merged.contexts)}{guess}"
        )
    cluster_name, user_name = str(context.get("cluster") or ""), str(context.get("user") or "")
    cluster = merged.clusters.get(cluster_name)
    if cluster is None or not cluster.get("server"):
        raise Refusal(
            f"context {name!r} names the cluster {cluster_name!r}, of which {said} has no server address",
            "choose another with --context, or mend the file",
        )
    if user_name and user_name not in merged.users:
        raise Refusal(
            f"context {name!r} names the user {user_name!r}, whom {said} does not have", "mend the file"
        )
    user, file = merged.users.get(user_name, ({}, ""))
    namespace = str(context.get("namespace") or "default")
    return Chosen(name, namespace, cluster, user, tuple(merged.files), user_name, file)


def _listed(contexts: Mapping[str, Json]) -> str:
    names = sorted(contexts)
    return (
        ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
        if names
        else "none"
    )


def _in_cluster(environ: Mapping[str, str], account: Path) -> Chosen | None:
    """As of a pod's service account (kubernetes.io/docs/tasks/run-application/access-api-from-pod)."""
    host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT")
    if not host or not port or not (account / "token").exists():
        return None
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    try:
        namespace = (account / "namespace").read_text().strip()
    except OSError:
        namespace = ""
    cluster = {"server": server, "certificate-authority": str(account / "ca.crt")}
    return Chosen(
        "in-cluster", namespace or "default", cluster, {"tokenFile": str(account / "token")}, (str(account),)
    )
