"""A container's environment from the pod's spec, as the kubelet would make it."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from runner.kube import service_links
from runner.kube.expansion import expanded, of_words
from runner.kube.quantity import divided, parsed
from runner.kube.spec_env import environment, hostname
from tests.runner.kube.memory import Memory, pod

Json = dict[str, Any]


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("$(A)", "a"),
        ("x$(A)y$(B)z", "xaybz"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$a"),
        ("$$$$(A)", "$$(A)"),
        ("$(NO)", "$(NO)"),
        ("$(A", "$(A"),
        ("$(A$$", "$(A$"),
        ("$A $ $", "$A $ $"),
        ("$()", "$()"),
        ("$$", "$"),
        ("", ""),
        ("$(A)$(A)", "aa"),
        ("\n$(A)\n", "\na\n"),
    ],
)
def test_expansion(text: str, result: str) -> None:
    """Of the kubelet's own table (third_party/forked/golang/expansion)."""
    assert expanded(text, {"A": "a", "B": "b"}) == result


def test_quantities() -> None:
    assert [float(parsed(one)) for one in ("1", "250m", "1Ki", "1k", "1.5Gi", "2e3", ".5")] == [
        1,
        0.25,
        1024,
        1000,
        1.5 * 1024**3,
        2000,
        0.5,
    ]
    for wrong in ("", "1KB", "x", "1 Gi"):
        with pytest.raises(ValueError):
            parsed(wrong)


@pytest.mark.parametrize(
    ("value", "divisor", "cpu", "result"),
    [
        ("250m", "1", True, "1"),
        ("1500m", "1", True, "2"),
        ("1500m", "1m", True, "1500"),
        ("64Mi", "1", False, str(64 << 20)),
        ("64Mi", "1Mi", False, "64"),
        ("65537Ki", "1Mi", False, "65"),
        ("1Gi", "0", False, str(1 << 30)),
    ],
)
def test_divisors(value: str, divisor: str, cpu: bool, result: str) -> None:
    assert divided(value, divisor, cpu=cpu) == result


def service(name: str, namespace: str, address: str, *ports: Json) -> Json:
    return {
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"clusterIP": address, "ports": list(ports)},
    }


MASTER = service("kubernetes", "default", "198.18.200.1", {"name": "https", "port": 443, "protocol": "TCP"})


def test_service_links() -> None:
    there = [
        MASTER,
        service(
            "the-db",
            "shop",
            "198.18.200.7",
            {"port": 5432},
            {"name": "stats-x", "port": 9187, "protocol": "UDP"},
        ),
        service("headless", "shop", "None", {"port": 1}),
        service("six", "shop", "fd00:198:18::7", {"port": 80}),
        service("other", "elsewhere", "198.18.200.9", {"port": 1}),
    ]
    found = service_links.variables(there, "shop", links=True)
    assert found["KUBERNETES_SERVICE_HOST"] == "198.18.200.1"
    assert found["KUBERNETES_SERVICE_PORT_HTTPS"] == "443"
    assert found["KUBERNETES_PORT_443_TCP"] == "tcp://198.18.200.1:443"
    assert found["THE_DB_PORT"] == "tcp://198.18.200.7:5432"
    assert found["THE_DB_SERVICE_PORT_STATS_X"] == "9187"
    assert found["THE_DB_PORT_9187_UDP_PROTO"] == "udp"
    assert found["SIX_PORT"] == "tcp://[fd00:198:18::7]:80"
    assert not [name for name in found if name.startswith(("HEADLESS", "OTHER"))]
    few = service_links.variables(there, "shop", links=False)
    assert {name.split("_")[0] for name in few} == {"KUBERNETES"}


ENV = [
    {"name": "PLAIN", "value": "p"},
    {"name": "EMPTY"},
    {"name": "USES", "value": "$(PLAIN)-$(FROM_MAP)-$(KUBERNETES_SERVICE_HOST)-$$(PLAIN)-$(LATER)"},
    {"name": "LATER", "value": "l"},
    {"name": "SHADOWED", "value": "by env"},
    {"name": "MAP", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "colour"}}},
    {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}},
    {"name": "ME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    {"name": "WHERE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
    {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
    {"name": "IPS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIPs"}}},
    {"name": "LABEL", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
    {"name": "NOTE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['a.b/c']"}}},
    {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "requests.cpu", "divisor": "1m"}}},
    {"name": "MEMORY", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory"}}},
    {"name": "MAYBE", "valueFrom": {"secretKeyRef": {"name": "none", "key": "k", "optional": True}}},
    {
        "name": "PERHAPS",
        "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "no", "optional": True}},
    },
]
FROM = [
    {"configMapRef": {"name": "settings"}},
    {"secretRef": {"name": "keys"}, "prefix": "K_"},
    {"configMapRef": {"name": "absent", "optional": True}},
]


@pytest.fixture
def cluster() -> Memory:
    made = Memory()
    made.put("/api/v1/namespaces/default/services/kubernetes", MASTER)
    data = {"colour": "red", "FROM_MAP": "m", "SHADOWED": "by map", "bad=name": "x"}
    made.put("/api/v1/namespaces/shop/configmaps/settings", {"metadata": {"name": "settings"}, "data": data})
    token = base64.b64encode(b"s3cret\xff").decode()
    made.put("/api/v1/namespaces/shop/secrets/keys", {"metadata": {"name": "keys"}, "data": {"token": token}})
    allocatable = {"cpu": "2", "memory": "8Gi"}
    made.put("/api/v1/nodes/n1", {"metadata": {"name": "n1"}, "status": {"allocatable": allocatable}})
    return made


def subject() -> Json:
    made = pod("cart-1", annotations={"a.b/c": "noted"}, status={"podIP": "198.18.1.2"})
    made["status"]["podIPs"] = [{"ip": "198.18.1.2"}, {"ip": "fd00:198:18::2"}]
    made["spec"]["containers"][0] |= {"env": ENV, "envFrom": FROM, "resources": {"requests": {"cpu": "250m"}}}
    return made


async def found(cluster: Memory, made: Json) -> tuple[dict[str, bytes], tuple[str, ...]]:
    told = await environment(cluster, made, "web")  # type: ignore[arg-type]
    return {
        name.decode(): value for name, _, value in (one.partition(b"=") for one in told.variables)
    }, told.unread


async def test_everything_is_resolved(cluster: Memory) -> None:
    env, unread = await found(cluster, subject())
    assert unread == ()
    assert env["USES"] == b"p-m-198.18.200.1-$(PLAIN)-$(LATER)"
    assert env["EMPTY"] == b""
    assert env["SHADOWED"] == b"by env"
    assert (env["MAP"], env["colour"], env["SECRET"], env["K_token"]) == (
        b"red",
        b"red",
        b"s3cret\xff",
        b"s3cret\xff",
    )
    assert (env["ME"], env["WHERE"], env["LABEL"], env["NOTE"]) == (b"cart-1", b"n1", b"cart", b"noted")
    assert (env["IP"], env["IPS"]) == (b"198.18.1.2", b"198.18.1.2,fd00:198:18::2")
    assert (env["CPU"], env["MEMORY"]) == (b"250", str(8 << 30).encode())
    assert env["HOSTNAME"] == b"cart-1"
    assert not {"MAYBE", "PERHAPS", "bad=name", "bad"} & env.keys()


async def test_what_may_not_be_read_is_said_by_name_and_the_rest_is_there(cluster: Memory) -> None:
    cluster.forbidden |= {"secrets", "nodes", "services"}
    env, unread = await found(cluster, subject())
    assert not {"SECRET", "K_token", "MEMORY", "KUBERNETES_SERVICE_HOST"} & env.keys()
    assert env["MAP"] == b"red"
    said = "\n".join(unread)
    assert "secret keys (SECRET): you may not read it" in said
    assert "secret keys (all its variables): you may not read it" in said
    assert "secret none (MAYBE): you may not read it" in said
    assert "limits.memory (MEMORY)" in said
    assert "services of shop" in said
    assert "KUBERNETES_SERVICE_HOST" in said
    assert "s3cret" not in said


async def test_what_is_not_there_is_said(cluster: Memory) -> None:
    made = subject()
    made["spec"]["containers"][0]["env"] = [
        {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "gone"}}},
        {"name": "B", "valueFrom": {"secretKeyRef": {"name": "gone", "key": "k"}}},
        {"name": "C", "valueFrom": {"fileKeyRef": {"key": "k"}}},
    ]
    _, unread = await found(cluster, made)
    assert unread == (
        "configmap settings (A): it has no key gone",
        "secret gone (B): there is none",
        "C: its source (fileKeyRef) is not known here",
    )


async def test_each_thing_is_asked_for_once_and_only_what_is_needed(cluster: Memory) -> None:
    await found(cluster, subject())
    assert len([path for path in cluster.asked if path.endswith("/secrets/keys")]) == 1
    cluster.asked.clear()
    made = pod("cart-1", spec={"enableServiceLinks": False})
    env, _ = await found(cluster, made)
    assert cluster.asked == ["/api/v1/namespaces/default/services/kubernetes"]
    assert "KUBERNETES_PORT" in env


def test_values_are_not_in_a_repr() -> None:
    from runner.kube.spec_env import SpecEnviron

    assert "s3cret" not in repr(SpecEnviron((b"A=s3cret",)))


def test_host_names() -> None:
    assert hostname(pod("a" * 70)) == "a" * 63
    assert hostname(pod("a", spec={"hostname": "h"})) == "h"


def test_the_words_of_a_command() -> None:
    words = ["/bin/sh", "-c", "echo $(A) $$(A) $(B) $(date)"]
    assert of_words(words, [b"A=1", b"B=\xff", b"C"]) == ("/bin/sh", "-c", "echo 1 $(A) \udcff $(date)")
