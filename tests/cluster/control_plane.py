"""The control plane's part: a bridge that joins the machines, and etcd, the API server, controllers, scheduler on it.

What differs from a cluster that people run: etcd without fsync (its data go with the cluster), no election (there is
one of each), and controllers that may ask 500 times a second, since tests wait for them.
"""

from __future__ import annotations

from pathlib import Path

from tests.cluster.places import (
    CONTROL,
    CONTROL6,
    CONTROL_NAME,
    DOMAIN,
    FORWARDS,
    IPV6,
    LOGS,
    NODES,
    PODS,
    SERVICES,
    STATE,
)
from tests.cluster.spec import Mount, Part, Program

ETCD = "http://127.0.0.1:2379"
HASTE = ["--kube-api-qps=500", "--kube-api-burst=1000"]
BRIDGE = "machines"


def port(name: str) -> str:
    """The bridge's end of a machine's cable."""
    return f"to-{name}"


PORTS = [port("host"), *(port(node.name) for node in NODES)]


def part(kube: Path, pki: Path, mounts: list[Mount], cgroups: list[list[str]]) -> Part:
    return Part(
        name=CONTROL_NAME,
        links=PORTS,
        mounts=[Mount("tmpfs", "etcd", "/run"), *mounts],
        files={},
        covers={},
        commands=network(),
        programs=[Program(name, [str(kube), name, *flags]) for name, flags in programs(pki).items()],
        logs=str(LOGS / CONTROL_NAME),
        held=str(STATE / CONTROL_NAME / "held"),
        cgroups=cgroups,
    )


def network() -> list[list[str]]:
    return [
        ["ip", "link", "add", BRIDGE, "type", "bridge"],
        ["ip", "address", "add", f"{CONTROL}/24", "dev", BRIDGE],
        *([["ip", "address", "add", f"{CONTROL6}/64", "dev", BRIDGE, "nodad"]] if IPV6 else []),
        ["ip", "link", "set", BRIDGE, "up"],
        *(["ip", "link", "set", name, "master", BRIDGE, "up"] for name in PORTS),
        # Pods are asked by the API server too (its proxy, webhooks, aggregated APIs): the way to each node's.
        *(way for node in NODES for way in node.ways),
        FORWARDS,
    ]


def programs(pki: Path) -> dict[str, list[str]]:
    """Name of each and its arguments, in the order they start; who is early asks again."""
    return {
        "etcd": [
            "--data-dir=/run/etcd",
            "--unsafe-no-fsync",
            "--log-level=warn",
            f"--listen-client-urls={ETCD}",
            f"--advertise-client-urls={ETCD}",
            "--listen-peer-urls=http://127.0.0.1:2380",
        ],
        "kube-apiserver": [
            f"--etcd-servers={ETCD}",
            f"--advertise-address={CONTROL}",
            f"--tls-cert-file={pki}/server.crt",
            f"--tls-private-key-file={pki}/server.key",
            f"--client-ca-file={pki}/ca.crt",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged",
            f"--service-cluster-ip-range={','.join(SERVICES)}",
            f"--service-account-issuer=https://kubernetes.default.svc.{DOMAIN}",
            f"--service-account-key-file={pki}/accounts.pub",
            f"--service-account-signing-key-file={pki}/accounts.key",
            f"--kubelet-client-certificate={pki}/to-kubelets.crt",
            f"--kubelet-client-key={pki}/to-kubelets.key",
            "--kubelet-preferred-address-types=InternalIP",
        ],
        "kube-controller-manager": [
            f"--kubeconfig={pki}/controllers.conf",
            "--leader-elect=false",
            "--use-service-account-credentials",
            f"--root-ca-file={pki}/ca.crt",
            f"--service-account-private-key-file={pki}/accounts.key",
            f"--cluster-signing-cert-file={pki}/ca.crt",
            f"--cluster-signing-key-file={pki}/ca.key",
            f"--cluster-cidr={','.join(PODS)}",
            "--allocate-node-cidrs=false",
            *HASTE,
        ],
        "kube-scheduler": [f"--kubeconfig={pki}/scheduler.conf", "--leader-elect=false", *HASTE],
    }
