"""What the app meets when it goes out is what the pod meets: one session is asked everything, and the pod the same.

The agent is one made for the session. What carries the octets is the same with every kind of agent.
"""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.cluster.kubectl import Kubectl

from .scene import Images, Scene, wait_left

TARGET = "cart"
PEER = {
    "http": 8080,
    "redis": 6379,
    "postgres": 5432,
    "iperf": 5201,
}
"""Of peer.sh; what it does by ports that no Service has is asked for by its address."""

MIB = 1 << 20


@dataclass(frozen=True)
class Prober:
    """One app that is asked much, and the pod whose place it has."""

    stage: Scene
    process: subprocess.Popen[str]
    said: Any
    peer: str
    """Its pod's address."""

    def __call__(self, *words: str) -> Any:
        """What the app meets."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(words) + "\n")
        self.process.stdin.flush()
        return json.loads(self.said.wait(lambda line: True, f"probe {words}", 110.0))

    def both(self, *words: str) -> Any:
        """What both meet, which is the same."""
        here, there = self(*words), self.stage.probe_inside(f"deploy/{TARGET}", *words)
        assert here == there
        return here


@pytest.fixture(scope="module")
def prober(cluster: Kubectl, images: Images) -> Iterator[Prober]:
    """It runs as root, who may ping."""
    name = f"mrt-out-{uuid.uuid4().hex[:6]}"
    cluster("create", "namespace", name)
    stage = Scene(cluster, name, images)
    firewall = {"securityContext": {"capabilities": {"add": ["NET_ADMIN"]}}}
    stage.deployment("peer", 1, ("sh", "/programs/peer.sh"), PEER, **firewall)
    stage.deployment(TARGET, env=[{"name": "DATABASE_URL", "value": "postgresql://postgres@peer/postgres"}])
    options = ("--agent", "job", "--agent-image", images.agent, "-u", "0")
    serve = ("python3", "/programs/probe.py", "serve")
    run = stage.start(f"deploy/{TARGET}", *serve, options=options, stdin=subprocess.PIPE)
    run.out.wait(lambda line: line == '"ready"\n', "the prober")
    yield Prober(stage, run.process, run.out, stage.address(stage.names("peer")[0]))
    assert run.process.stdin is not None
    run.process.stdin.close()
    assert run.wait() == 0
    stage.close_runs()
    assert not wait_left(stage)
    cluster("-n", name, "delete", "all", "--all", "--wait=false", "--grace-period=1")
    cluster("delete", "namespace", name, "--wait=false")


# --- TCP ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "behaviour", ["banner", "half_close_ours", "half_close_theirs", "reset_theirs", "reset_ours"]
)
def test_ends_of_a_connection(prober: Prober, behaviour: str) -> None:
    prober.both(behaviour, prober.peer)


@pytest.mark.parametrize(
    ("port", "told"),
    [("7998", ["ECONNREFUSED", "at once"]), ("7666", ["timed out here", "late"]), ("7667", None)],
    ids=["nobody listens", "dropped by a firewall", "prohibited by one"],
)
def test_connections_that_fail(prober: Prober, port: str, told: list[str] | None) -> None:
    met = prober.both("connect_error", prober.peer, port)
    assert met == told if told else met != ["connected", "at once"]


@pytest.mark.parametrize("direction", ["upload", "download"])
def test_100_mebibytes(prober: Prober, direction: str) -> None:
    """By digest, through the API server."""
    assert prober(direction, prober.peer, str(100 * MIB)) == [100 * MIB, True]


def test_500_connections_at_once(prober: Prober) -> None:
    assert prober("many", prober.peer, "500") == [500, 500]


def test_200_short_connections_a_second(prober: Prober) -> None:
    assert prober("short", prober.peer, "200", "3") == [600, [], 0]


# --- UDP, ICMP ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", ["5", "1400", "65507"])
def test_udp_connected(prober: Prober, size: str) -> None:
    assert prober.both("udp_connected", prober.peer, size)[0] is True


@pytest.mark.parametrize("behaviour", ["udp_other_port", "udp_refused", "udp_silent"])
def test_udp_answers(prober: Prober, behaviour: str) -> None:
    prober.both(behaviour, prober.peer)


def test_udp_to_many_peers(prober: Prober) -> None:
    target = prober.stage.address(prober.stage.names(TARGET)[0])
    prober.both("udp_many_peers", prober.peer, target)


def test_ping(prober: Prober) -> None:
    told = prober("command", "ping", "-c", "3", "-i", "0.2", prober.peer)
    assert "3 packets transmitted, 3 received, 0% packet loss" in told


# --- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
@pytest.mark.parametrize(
    "question",
    [
        "+search peer A",
        "kubernetes.default.svc.cluster.local. A",
        "_http._tcp.peer.NAMESPACE.svc.cluster.local. SRV",
        "_https._tcp.kubernetes.default.svc.cluster.local. SRV",
        "dns-version.cluster.local. TXT",
        "peer.NAMESPACE.svc.cluster.local. AAAA",
        "nobody.NAMESPACE.svc.cluster.local. A",
    ],
)
def test_dns(prober: Prober, question: str, transport: str) -> None:
    """By the pod's own resolv.conf: its name server and its search list."""
    asked = question.replace("NAMESPACE", prober.stage.namespace).split()
    dig = ("dig", "+noall", "+comments", "+answer", "+nocookie", transport, *asked)
    answer = _answer(prober("command", *dig))
    assert answer == _answer(prober.stage.inside(f"deploy/{TARGET}", *dig))
    assert answer[0] == ("NXDOMAIN" if "nobody" in question else "NOERROR")
    assert len(answer) > 1 or "nobody" in question or "AAAA" in question


def test_an_address_has_a_name(prober: Prober) -> None:
    """PTR, as the cluster's own name server has it for a Service."""
    address = prober.stage.get("service", "peer")["spec"]["clusterIP"]
    name = f"peer.{prober.stage.namespace}.svc.cluster.local."
    assert prober("command", "dig", "+short", "-x", address) == f"{name}\n"


@pytest.mark.parametrize("host", ["no-such-service", "cart", "nobody.outside.example"])
def test_what_libc_makes_of_a_name(prober: Prober, host: str) -> None:
    prober.both("unknown_host", host)


def _answer(text: str) -> list[str]:
    """Of dig: the status, then what was answered, without the time it may be kept."""
    status = [line.split("status: ")[1].split(",")[0] for line in text.splitlines() if "status: " in line]
    found = [line.split() for line in text.splitlines() if line and line[0] != ";"]
    return status + sorted(" ".join([words[0], *words[2:]]) for words in found)


# --- programs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        ["python3", "/programs/fetch.py", "http://peer:8080/"],
        ["node", "/programs/fetch.js", "http://peer:8080/"],
        ["java", "-cp", "/programs", "Fetch", "http://peer:8080/"],
        ["/programs/fetch-go", "http://peer:8080/"],
        ["/programs/fetch-musl", "peer", "8080", "/"],
        ["/programs/fetch-glibc", "peer", "8080", "/"],
        ["sh", "-c", "wget -qO- http://peer:8080/ | cat | tr a-z a-z"],
    ],
    ids=["python", "node", "java", "go-static", "musl-static", "glibc", "pipeline"],
)
def test_the_peer_sees_the_pod(prober: Prober, command: list[str]) -> None:
    """Whatever the app is. The body is the address that the server saw."""
    assert prober("command", *command).split()[-1] == prober.stage.address(prober.stage.names(TARGET)[0])


def test_a_database_by_the_targets_own_variables(prober: Prober) -> None:
    told = prober("command", "sh", "-c", 'psql "$DATABASE_URL" -Atc "select 40 + 2"')
    assert told.strip() == "42"


def test_redis_and_iperf3(prober: Prober) -> None:
    assert prober("command", "redis-cli", "-h", "peer", "set", "key", "value").strip() == "OK"
    told = json.loads(prober("command", "iperf3", "-c", "peer", "-t", "1", "-J"))
    assert told["end"]["sum_received"]["bytes"] > MIB


def test_the_api_server_by_its_name(prober: Prober) -> None:
    url = "https://kubernetes.default/version"
    prober.both("command", "curl", "-ks", "-o", "/dev/null", "-w", "%{http_code}", url)


def test_localhost_reaches_what_the_pod_has_there(prober: Prober) -> None:
    own = prober.stage.address(prober.stage.names(TARGET)[0])
    for host in ("127.0.0.1", own):
        assert prober("command", "redis-cli", "-h", host, "ping").strip() == "PONG"
