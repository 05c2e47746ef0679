"""What a cluster has in it from the start: name resolution, with no way to the outside, and one account."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.cluster.build import PAUSE
from tests.cluster.places import DNS, DOMAIN

SYSTEM = "kube-system"
NAME = "coredns"
LABELS = {"k8s-app": "kube-dns"}
RBAC = "rbac.authorization.k8s.io"

COREFILE = f""".:53 {{
    errors
    ready
    cache 5
    kubernetes {DOMAIN} in-addr.arpa ip6.arpa {{
        pods insecure
        ttl 5
    }}
    template ANY ANY . {{
        rcode NXDOMAIN
    }}
}}
"""
"""Names of the cluster live 5 s, so that a test need not wait for the usual 30; all other names do not exist."""


def _object(api: str, kind: str, name: str, **rest: Any) -> dict[str, Any]:
    return {
        "apiVersion": api,
        "kind": kind,
        "metadata": {"name": name, "namespace": SYSTEM, "labels": LABELS},
        **rest,
    }


def enforcer() -> list[dict[str, Any]]:
    """What kube-router may see to enforce policies; it runs on the node, as kube-proxy does."""
    rules = [
        {"apiGroups": [""], "resources": ["namespaces", "nodes", "pods"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": ["list", "watch"]},
    ]
    name = "system:kube-router"
    return [
        _object(f"{RBAC}/v1", "ClusterRole", name, rules=rules),
        _object(
            f"{RBAC}/v1",
            "ClusterRoleBinding",
            name,
            roleRef={"apiGroup": RBAC, "kind": "ClusterRole", "name": name},
            subjects=[{"apiGroup": RBAC, "kind": "User", "name": "kube-router"}],
        ),
    ]


def manifests(kube: Path) -> list[dict[str, Any]]:
    """CoreDNS from the executable on the node: its image would be the same file once more."""
    role = f"system:{NAME}"
    rules = [
        {"apiGroups": [""], "resources": ["namespaces", "pods", "services"], "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]
    container = {
        "name": NAME,
        "image": f"docker.io/{PAUSE}",
        "imagePullPolicy": "Never",
        "command": ["/kube", NAME, "-conf", "/etc/coredns/Corefile"],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
        "volumeMounts": [
            {"name": "kube", "mountPath": "/kube", "readOnly": True},
            {"name": "corefile", "mountPath": "/etc/coredns", "readOnly": True},
        ],
    }
    pod = {
        "serviceAccountName": NAME,
        "dnsPolicy": "Default",
        "priorityClassName": "system-cluster-critical",
        "tolerations": [{"operator": "Exists"}],
        "containers": [container],
        "volumes": [
            {"name": "kube", "hostPath": {"path": str(kube), "type": "File"}},
            {"name": "corefile", "configMap": {"name": NAME}},
        ],
    }
    ports = [
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
    ]
    return [
        *enforcer(),
        _object("v1", "ServiceAccount", NAME),
        _object(f"{RBAC}/v1", "ClusterRole", role, rules=rules),
        _object(
            f"{RBAC}/v1",
            "ClusterRoleBinding",
            role,
            roleRef={"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
            subjects=[{"kind": "ServiceAccount", "name": NAME, "namespace": SYSTEM}],
        ),
        _object("v1", "ConfigMap", NAME, data={"Corefile": COREFILE}),
        _object(
            "apps/v1",
            "Deployment",
            NAME,
            spec={
                "replicas": 1,
                "selector": {"matchLabels": LABELS},
                "template": {"metadata": {"labels": LABELS}, "spec": pod},
            },
        ),
        _object(
            "v1",
            "Service",
            "kube-dns",
            spec={"clusterIP": DNS, "ipFamilyPolicy": "PreferDualStack", "selector": LABELS, "ports": ports},
        ),
    ]
