"""What the app meets when it goes out is what the target meets: the same program runs in both and tells the same."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from docker.models.containers import Container

from .scene import Run, Scene

V4, V6 = 4, 6


class Prober:
    """One app for all probes of this file: a session that lives long and is asked much."""

    def __init__(self, run: Run) -> None:
        self._run = run
        run.out.wait(lambda line: line == '"ready"\n', "the prober")

    def __call__(self, *words: str) -> Any:
        assert self._run.process.stdin is not None
        self._run.process.stdin.write(json.dumps(words) + "\n")
        self._run.process.stdin.flush()
        return json.loads(self._run.out.wait(lambda line: True, f"probe {words}", 110.0))


@pytest.fixture(scope="module")
def prober(scene: Scene, target: Container) -> Iterator[Prober]:
    run = scene.start(target, "python3", "/programs/probe.py", "serve", stdin=subprocess.PIPE)
    scene.runs.remove(run)  # it outlives the tests
    yield Prober(run)
    assert run.process.stdin is not None
    run.process.stdin.close()
    assert run.wait() == 0


def both(scene: Scene, target: Container, prober: Prober, *words: str) -> object:
    here, there = prober(*words), scene.probe_inside(target, *words)
    assert here == there
    return there


@pytest.fixture
def host(scene: Scene, peer: Container, request: pytest.FixtureRequest) -> str:
    return scene.address(peer, request.param)


families = pytest.mark.parametrize("host", [V4, V6], indirect=True)


@families
def test_connect_refused(scene: Scene, target: Container, prober: Prober, host: str) -> None:
    assert both(scene, target, prober, "connect_error", host, "7998") == ["ECONNREFUSED", "at once"]


@families
def test_connect_filtered(scene: Scene, target: Container, prober: Prober, host: str) -> None:
    assert both(scene, target, prober, "connect_error", host, "7666") == ["timed out here", "late"]


@families
def test_connect_prohibited_by_a_firewall(scene: Scene, target: Container, prober: Prober, host: str) -> None:
    assert both(scene, target, prober, "connect_error", host, "7667") != ["connected", "at once"]


@pytest.mark.parametrize(
    ("kind", "there", "here"),
    [
        ("throw", "ENETUNREACH", "ENETUNREACH"),
        ("unreachable", "EHOSTUNREACH", "EHOSTUNREACH"),
        (
            "prohibit",
            "EACCES",
            "EHOSTUNREACH",
        ),  # ICMP 3/13 is what carries it, and Linux reads that as EHOSTUNREACH
        ("blackhole", "EINVAL", "ECONNREFUSED"),  # no packet says EINVAL
    ],
)
def test_connect_where_the_target_has_no_way(
    scene: Scene, target: Container, prober: Prober, kind: str, there: str, here: str
) -> None:
    address = "198.18.255.1"
    scene.inside(target, "ip", "route", "add", kind, address)
    try:
        # `throw` leaves the table: with the default route gone there is none.
        if kind == "throw":
            gateway = scene.inside(target, "sh", "-c", "ip route show default").split()
            scene.inside(target, "ip", "route", "del", "default")
        assert scene.probe_inside(target, "connect_error", address, "80") == [there, "at once"]
        assert prober("connect_error", address, "80") == [here, "at once"]
    finally:
        if kind == "throw":
            scene.inside(target, "ip", "route", "add", *gateway)
        scene.inside(target, "ip", "route", "del", kind, address)


def test_connect_to_a_neighbour_that_does_not_answer(scene: Scene, target: Container, prober: Prober) -> None:
    assert both(scene, target, prober, "connect_error", f"{scene.prefix}.251", "80", "8") == [
        "EHOSTUNREACH",
        "late",
    ]


def test_host_name_unknown(scene: Scene, target: Container, prober: Prober) -> None:
    assert both(scene, target, prober, "unknown_host", "nobody.outside.example") is True


@families
@pytest.mark.parametrize(
    "behaviour", ["banner", "half_close_ours", "half_close_theirs", "reset_theirs", "reset_ours"]
)
def test_ends_of_a_connection(
    scene: Scene, target: Container, prober: Prober, host: str, behaviour: str
) -> None:
    both(scene, target, prober, behaviour, host)


@pytest.mark.parametrize("direction", ["upload", "download"])
def test_a_gibibyte(scene: Scene, target: Container, prober: Prober, direction: str) -> None:
    assert prober(direction, "peer", str(1 << 30)) == [1 << 30, True]


@families
def test_a_thousand_connections_at_once(scene: Scene, target: Container, prober: Prober, host: str) -> None:
    assert prober("many", host, "1000") == [1000, 1000]


def test_200_short_connections_a_second(scene: Scene, target: Container, prober: Prober) -> None:
    assert prober("short", "peer", "200", "30") == [6000, [], 0]


@families
@pytest.mark.parametrize("size", ["5", "1400", "60000", "65000", "65507"])
def test_udp_connected(scene: Scene, target: Container, prober: Prober, host: str, size: str) -> None:
    told = both(scene, target, prober, "udp_connected", host, size)
    assert isinstance(told, list)
    assert told[0] is True


def test_udp_to_many_peers(scene: Scene, target: Container, prober: Prober, peer: Container) -> None:
    both(scene, target, prober, "udp_many_peers", scene.address(peer), scene.address(target))


@families
@pytest.mark.parametrize("behaviour", ["udp_other_port", "udp_refused", "udp_silent"])
def test_udp_answers(scene: Scene, target: Container, prober: Prober, host: str, behaviour: str) -> None:
    both(scene, target, prober, behaviour, host)


@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
@pytest.mark.parametrize(
    "question",
    [
        "peer A",
        "peer AAAA",
        "www.outside.example A",
        "www.outside.example AAAA",
        "_http._tcp.outside.example SRV",
        "outside.example TXT",
        "nobody.outside.example A",
    ],
)
def test_dns(scene: Scene, target: Container, prober: Prober, question: str, transport: str) -> None:
    """By the target's own resolv.conf, which names an address on the target's loopback."""
    ask = ("dig", "+noall", "+comments", "+answer", "+nocookie", transport, *question.split())

    def told(text: str) -> list[str]:
        status = [line.split("status: ")[1].split(",")[0] for line in text.splitlines() if "status: " in line]
        return status + sorted(
            " ".join(line.split()[2:]) for line in text.splitlines() if line and line[0] != ";"
        )

    answer = told(prober("command", *ask))
    assert answer == told(scene.inside(target, *ask))
    assert answer[0] == ("NXDOMAIN" if "nobody" in question else "NOERROR")
    assert len(answer) > 1 or "nobody" in question


@families
def test_ping(scene: Scene, target: Container, host: str) -> None:
    text = scene.run(target, "ping", "-c", "3", "-i", "0.2", host, options=("-u", "0"))
    assert "3 packets transmitted, 3 received, 0% packet loss" in text


def test_compose_name_and_target_environment_reach_the_database(scene: Scene, target: Container) -> None:
    text = scene.run(target, "sh", "-c", 'psql "$DATABASE_URL" -Atc "select 40 + 2"')
    assert text.strip() == "42"


def test_iperf3_and_redis(scene: Scene, target: Container) -> None:
    told = json.loads(scene.run(target, "iperf3", "-c", "peer", "-t", "1", "-J"))
    assert told["end"]["sum_received"]["bytes"] > 1 << 20
    assert scene.run(target, "redis-cli", "-h", "peer", "set", "key", "value").strip() == "OK"


def test_localhost_reaches_what_the_target_has_there(scene: Scene, target: Container, prober: Prober) -> None:
    assert prober("command", "redis-cli", "-h", "127.0.0.1", "ping").strip() == "PONG"
    assert prober("command", "redis-cli", "-h", scene.address(target), "ping").strip() == "PONG"


def test_what_the_app_binds_on_localhost_is_its_own(scene: Scene, target: Container) -> None:
    text = scene.run(
        target,
        "sh",
        "-c",
        "echo mine | nc -l -s 127.0.0.1 -p 6379 -N & "
        "while ! ss -Hltn | grep -q 6379; do :; done; nc -d 127.0.0.1 6379; wait",
    )
    assert text.strip() == "mine"
