"""Everything that `mirror-run install` applies, as JSON, in the order in which it can be made. Pure.

Nothing here is aggregated to the cluster's own roles, and unless the options say so nobody but the agents' account is
bound to more than reading the MirrorPolicy: who may do what is for the cluster's people to bind.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from runner import VERSION
from runner.kube import admission, kinds
from runner.kube.kinds import GROUP, RIGHTS, SESSIONS
from runner.kube.manifests import NAME, NO_SIDECARS, PRODUCT, container, pod_spec
from runner.labels import RELEASE, ROLE
from runner.plan import AGENT_CAPABILITIES, AGENT_FILES_CAPABILITIES
from wire.record import record

AGENT = "mirror-run-agent"
"""The DaemonSet, its service account and that account's roles."""

CONNECT = "mirror-run-connect"
"""In the agents' namespace: who may find the agents and forward a port to them. Opens nothing without a secret."""

NAMESPACE = "mirror-run"

PORT = 4747
"""On the loopback of the agent's own pod."""

OPTIONS_NOTE = "mirror-run.dev/installed-with"
"""An annotation of the DaemonSet: the options, for `upgrade`."""

LABELS = {NAME: PRODUCT, "app.kubernetes.io/managed-by": PRODUCT}

PEOPLE = {
    "mirror-run-mirror": ("mirror",),
    "mirror-run-develop": ("mirror", "outgoing", "env", "files"),
    "mirror-run-full": RIGHTS,
}
"""ClusterRoles to bind in a namespace, and the rights that each gives there."""

EVERYONE = "system:authenticated"


@record
class InstallOptions:
    """What the person who installs decides. ``node_selector``: "key=value"; ``tolerations``: "key[=value][:effect]",
    none given means every taint; ``connect``: groups that may reach the agents' port."""

    image: str
    namespace: str = NAMESPACE
    node_selector: tuple[str, ...] = ()
    tolerations: tuple[str, ...] = ()
    pull_secrets: tuple[str, ...] = ()
    connect: tuple[str, ...] = ()
    like_exec: bool = False

    def text(self) -> str:
        """As JSON, for the annotation."""
        return json.dumps(asdict(self), sort_keys=True)


def options_of(text: str) -> InstallOptions:
    """The opposite of ``text``; what a later version added is left out. ValueError if it is none."""
    said = json.loads(text)
    known: dict[str, Any] = {
        name: tuple(it) if isinstance(it, list) else it
        for name, it in said.items()
        if name in InstallOptions.__dataclass_fields__
    }
    return InstallOptions(**known)


def manifests(options: InstallOptions) -> list[dict[str, Any]]:
    """In order: what others refer to comes first. The same options give the same objects, octet for octet."""
    objects = [
        _namespace(options.namespace),
        kinds.session_kind(),
        kinds.policy_kind(),
        kinds.default_policy(options.namespace, like_exec=options.like_exec),
        admission.policy(),
        admission.binding(),
        *_agent_account(options.namespace),
        *(_people(name, rights) for name, rights in PEOPLE.items()),
        *_everyone(like_exec=options.like_exec),
        *_connect(options),
        _network_policy(options.namespace),
        daemonset(options),
    ]
    return [_labelled(one) for one in objects]


def _labelled(one: dict[str, Any]) -> dict[str, Any]:
    one["metadata"]["labels"] = LABELS | one["metadata"].get("labels", {})
    return one


def _namespace(name: str) -> dict[str, Any]:
    """The agents see the node's processes: only the privileged Pod Security level admits that."""
    levels = {f"pod-security.kubernetes.io/{mode}": "privileged" for mode in ("enforce", "audit", "warn")}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": levels}}


def _agent_account(namespace: str) -> list[dict[str, Any]]:
    """All that a stolen token of an agent's can do. No secrets, no exec, nothing created but events."""
    rules = [
        _rule("", ["pods"], ["get"]),
        _rule("", ["events"], ["create"]),
        _rule(GROUP, [SESSIONS], ["get", "list", "watch", "delete"]),
        _rule(GROUP, [kinds.POLICIES], ["get"], names=[kinds.POLICY_NAME]),
        _rule(
            "admissionregistration.k8s.io",
            ["validatingadmissionpolicies", "validatingadmissionpolicybindings"],
            ["get"],
            names=[admission.POLICY],
        ),
    ]
    return [
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": AGENT, "namespace": namespace},
            "automountServiceAccountToken": False,
        },
        _cluster_role(AGENT, rules),
        _cluster_binding(AGENT, AGENT, [_account(namespace)]),
    ]


def _people(name: str, rights: Sequence[str]) -> dict[str, Any]:
    """What the runner asks of the API server for TARGET, and the rights."""
    view = ["get", "list", "watch"]
    return _cluster_role(
        name,
        [
            _rule("", ["pods", "services", "replicationcontrollers"], view),
            _rule("apps", ["daemonsets", "deployments", "replicasets", "statefulsets"], view),
            _rule("batch", ["cronjobs", "jobs"], view),
            _rule(GROUP, [SESSIONS], ["create", "delete", *view]),
            _rule(GROUP, [f"{SESSIONS}/status"], ["get", "patch", "update"]),
            _rule(GROUP, [f"{SESSIONS}/{right}" for right in rights], ["create"]),
        ],
    )


def _everyone(*, like_exec: bool) -> list[dict[str, Any]]:
    """Everybody may read where the agents are and what is allowed. With `--like-exec`, everybody may ask for a session:
    the admission policy then lets those have it who may execute in the pods of that namespace."""
    rules = [_rule(GROUP, [kinds.POLICIES], ["get"], names=[kinds.POLICY_NAME])]
    if like_exec:
        rules += [
            _rule(GROUP, [SESSIONS], ["create", "delete", "get"]),
            _rule(GROUP, [f"{SESSIONS}/status"], ["get", "patch", "update"]),
        ]
    name = "mirror-run-everyone"
    return [_cluster_role(name, rules), _cluster_binding(name, name, [_group(EVERYONE)])]


def _connect(options: InstallOptions) -> list[dict[str, Any]]:
    metadata = {"name": CONNECT, "namespace": options.namespace}
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": dict(metadata),
        "rules": [
            _rule("", ["pods"], ["get", "list", "watch"]),
            _rule("", ["pods/portforward"], ["create", "get"]),
        ],
    }
    groups = (EVERYONE,) if options.like_exec else options.connect
    if not groups:
        return [role]
    return [
        role,
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": dict(metadata),
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": CONNECT},
            "subjects": [_group(group) for group in groups],
        },
    ]


def _network_policy(namespace: str) -> dict[str, Any]:
    """The agents listen on loopback alone; this says it once more to whoever enforces it."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": AGENT, "namespace": namespace},
        "spec": {"podSelector": {"matchLabels": _selector()}, "policyTypes": ["Ingress"]},
    }


def daemonset(options: InstallOptions) -> dict[str, Any]:
    """The agents: one a node, none of the node's network, all of its processes."""
    labels = LABELS | {ROLE: "agent", RELEASE: VERSION}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {
            "name": AGENT,
            "namespace": options.namespace,
            "labels": labels,
            "annotations": {OPTIONS_NOTE: options.text()},
        },
        "spec": {
            "selector": {"matchLabels": _selector()},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "100%"}},
            "template": {
                "metadata": {
                    "labels": labels | NO_SIDECARS,
                    "annotations": dict(NO_SIDECARS),
                },
                "spec": _pod(options),
            },
        },
    }


def _selector() -> dict[str, str]:
    return {NAME: PRODUCT, ROLE: "agent"}


def selector_text() -> str:
    """The agents' pods, as a list is asked for them."""
    return ",".join(f"{key}={value}" for key, value in _selector().items())


def _pod(options: InstallOptions) -> dict[str, Any]:
    main = container(
        options.image,
        [
            "--port",
            str(PORT),
            "--cluster",
            "$(KUBERNETES_SERVICE_HOST):$(KUBERNETES_SERVICE_PORT)",
            "--node",
            "$(NODE_NAME)",
            "--idle",
            "0",
            "--judged-by",
            admission.in_force_hash(),
            "--log-level",
            "INFO",
        ],
        # Which sessions have files their objects say, one by one; what they may be is given once.
        capabilities=[*AGENT_CAPABILITIES, *AGENT_FILES_CAPABILITIES],
    )
    main["env"] = [{"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}]
    spec = pod_spec(main, pull_secrets=options.pull_secrets) | {
        "serviceAccountName": AGENT,
        "automountServiceAccountToken": True,
        "nodeSelector": {"kubernetes.io/os": "linux"} | dict(_pair(one) for one in options.node_selector),
    }
    if options.tolerations:
        spec["tolerations"] = [_toleration(one) for one in options.tolerations]
    return spec


def _pair(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    return key, value


def _toleration(text: str) -> dict[str, str]:
    """kubectl taint's way of writing: key[=value][:effect]."""
    what, _, effect = text.partition(":")
    key, equal, value = what.partition("=")
    toleration = (
        {"key": key, "operator": "Equal", "value": value} if equal else {"key": key, "operator": "Exists"}
    )
    return toleration | ({"effect": effect} if effect else {})


def _rule(
    group: str, resources: Sequence[str], verbs: Sequence[str], names: Sequence[str] = ()
) -> dict[str, Any]:
    rule: dict[str, Any] = {"apiGroups": [group], "resources": list(resources), "verbs": list(verbs)}
    return rule | ({"resourceNames": list(names)} if names else {})


def _cluster_role(name: str, rules: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name},
        "rules": rules,
    }


def _cluster_binding(name: str, role: str, subjects: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": subjects,
    }


def _account(namespace: str) -> dict[str, Any]:
    return {"kind": "ServiceAccount", "name": AGENT, "namespace": namespace}


def _group(name: str) -> dict[str, Any]:
    return {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": name}
