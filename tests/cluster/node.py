"""A node's part: containerd, kubelet and kube-proxy in namespaces, so that each takes the machine for its own.

Machine-wide things that they would change are covered (`STILL`); what they keep is in an overlay over /etc and /var.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.cluster.build import PAUSE, Built
from tests.cluster.places import DNS, DOMAIN, FORWARDS, LOGS, NODES, PODS, SERVICES, STATE, Node, families
from tests.cluster.spec import Mount, Part, Program

LINK = "eth0"
SOCKET = "/run/containerd/containerd.sock"
PLUGINS = "/usr/lib/cni"  # where Debian's containernetworking-plugins puts them

STILL = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
"""What the kubelet sets for the whole machine (see --protect-kernel-defaults). It leaves what already reads right."""


def part(node: Node, built: Built, pki: Path, mounts: list[Mount], cgroups: list[list[str]]) -> Part:
    own = node.folder
    scratch = STATE / node.name
    return Part(
        name=node.name,
        links=[LINK],
        mounts=[
            # An overlay's upper folder cannot lie on an overlay, so the image store is a mount of its own.
            Mount(
                "overlay", "etc", "/etc", f"lowerdir=/etc,upperdir={scratch}/etc,workdir={scratch}/etc.work"
            ),
            Mount(
                "overlay", "var", "/var", f"lowerdir=/var,upperdir={scratch}/var,workdir={scratch}/var.work"
            ),
            Mount("bind", str(own), "/var/lib/containerd"),
            Mount("tmpfs", "run", "/run", "mode=755"),
            *mounts,
        ],
        files={
            "/etc/hosts": f"127.0.0.1 localhost {node.name}\n",
            "/etc/resolv.conf": "",
            "/etc/containerd/config.toml": containerd(),
            "/etc/cni/net.d/10-pods.conflist": json.dumps(pod_network(node), indent=1),
            "/etc/kubelet.json": json.dumps(kubelet(pki), indent=1),
            "/etc/kube-proxy.json": json.dumps(proxy(node, pki), indent=1),
        },
        covers={f"/proc/sys/{name}": value + "\n" for name, value in STILL.items()},
        commands=network(node),
        programs=[
            Program("containerd", ["containerd"]),
            Program("kube-proxy", [str(built.kube), "kube-proxy", "--config=/etc/kube-proxy.json"]),
            Program(
                "kube-router",
                [
                    str(built.kube),
                    "kube-router",
                    f"--kubeconfig={pki}/policies.conf",
                    f"--hostname-override={node.name}",
                    f"--service-cluster-ip-range={','.join(SERVICES)}",
                ],
            ),
            Program(
                "kubelet",
                [
                    str(built.kube),
                    "kubelet",
                    "--config=/etc/kubelet.json",
                    f"--kubeconfig={pki}/{node.name}.conf",
                    f"--hostname-override={node.name}",
                    f"--node-ip={','.join(node.addresses)}",
                ],
                before=[
                    ["ctr", "version"],
                    ["mkdir", "-p", "/var/lib/kubelet", "/var/log/pods"],
                    ["sh", "-c", FORGET],
                    ["ctr", "-n", "k8s.io", "images", "import", str(built.pause)],
                ],
            ),
        ],
        logs=str(LOGS / node.name),
        held=str(STATE / node.name / "held"),
        cgroups=cgroups,
    )


FORGET = "ctr -n k8s.io containers ls -q | xargs -r ctr -n k8s.io containers rm"
"""containerd keeps the images between runs, and with them the records of containers whose processes are long dead."""


def network(node: Node) -> list[list[str]]:
    others = [other for other in NODES if other != node]
    return [
        ["ip", "address", "add", f"{node.address}/24", "dev", LINK],
        ["ip", "link", "set", LINK, "up"],
        *(["ip", "address", "add", f"{six}/64", "dev", LINK, "nodad"] for six in node.addresses[1:]),
        FORWARDS,
        *(way for other in others for way in other.ways),
        # Pods of one node that meet by a Service go over its bridge: the rules have to see that too.
        ["sh", "-c", "for f in /proc/sys/net/bridge/bridge-nf-call-ip*tables; do echo 1 > $f; done || true"],
    ]


def containerd() -> str:
    """Without CAP_SYS_RESOURCE nobody may lower an oom_score_adj; what is left out wants devices that are not there."""
    return f"""version = 2
oom_score = 0
disabled_plugins = [
  "io.containerd.internal.v1.opt",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/{PAUSE}"
  restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "{PLUGINS}"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  SystemdCgroup = false
"""


def pod_network(node: Node) -> dict[str, object]:
    """Each node's pods on a bridge, routed to the others' as they are: every pod sees every pod's own address."""
    return {
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "pods0",
                "isGateway": True,
                "ipMasq": False,
                "hairpinMode": True,  # a pod that asks its own Service may be given to itself
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": pods}] for pods in node.pods],
                    "routes": [{"dst": everywhere} for everywhere in families("0.0.0.0/0", "::/0")],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def kubelet(pki: Path) -> dict[str, object]:
    """https://kubernetes.io/docs/reference/config-api/kubelet-config.v1beta1/"""
    never = {"memory.available": "0%"} | {
        f"{where}.{what}": "0%" for where in ("nodefs", "imagefs") for what in ("available", "inodesFree")
    }
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{pki}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "failSwapOn": False,
        "featureGates": {"KubeletInUserNamespace": True},  # it then only warns where a capability is missing
        "clusterDNS": [DNS],
        "clusterDomain": DOMAIN,
        "resolvConf": "/etc/resolv.conf",
        # The machine is shared with everything else that tests do: its shortages are no reason to evict a pod.
        "evictionHard": never,
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "localStorageCapacityIsolation": False,
        "enforceNodeAllocatable": [],
        "oomScoreAdj": 0,
        "syncFrequency": "10s",
    }


def proxy(node: Node, pki: Path) -> dict[str, object]:
    """https://kubernetes.io/docs/reference/config-api/kube-proxy-config.v1alpha1/"""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clusterCIDR": ",".join(PODS),
        "clientConnection": {"kubeconfig": f"{pki}/proxy.conf"},
        # Zeros: leave the machine's conntrack limits alone.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "oomScoreAdj": 0,
        "hostnameOverride": node.name,
    }
