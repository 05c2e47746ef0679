"""Real clients of every protocol while ports are stolen: whole, each is the app's; by a filter, HTTP by request and all
else the target's, as if nobody stood between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from docker.models.containers import Container

from .scene import Scene
from .shop import app, asked, shop, who
from .stealing import Held, as_before, network

__all__ = ["shop"]

FILTER = ("--http-header", "^x-user: ada$")
NO_FILES = ("--fs-mode", "local")
"""Redis and PostgreSQL of the app's are its own, and so is what they write."""


@pytest.fixture(autouse=True)
def healthy(scene: Scene, shop: Container) -> Iterator[None]:
    """The engine's own checks were answered by the target all the while, and its network is as it was."""
    before, began = network(scene, shop), datetime.now(UTC)
    yield
    scene.close_runs()
    shop.reload()
    health = shop.attrs["State"]["Health"]
    assert health["Status"] == "healthy", health
    checks = [one for one in health["Log"] if datetime.fromisoformat(one["Start"]) > began]
    assert checks, health
    assert all(one["ExitCode"] == 0 for one in checks), health
    as_before(scene, shop, before)


def redis(scene: Scene, client: Container) -> str:
    return scene.inside(client, "redis-cli", "-h", "shop", "get", "name").strip()


def psql(scene: Scene, client: Container) -> str:
    words = ("-h", "shop", "-U", "postgres", "-AtX")
    much = "select count(*) from (select repeat('x', 1000) from generate_series(1, 2000)) as rows"
    name, count = scene.inside(client, "psql", *words, "-c", "show cluster_name", "-c", much).split()
    assert count == "2000"
    return name


def grpc_answers(who_: str) -> list[object]:
    """To what shop_ask.py asks: one, a stream down, a stream up, and both ways by turns."""
    return [
        f"{who_} hello",
        [f"{who_} {n}" for n in range(3)],
        f"{who_} a,b,c",
        [f"{who_} {ask}" for ask in "abc"],
    ]


# For each line on stdin a request, all on one connection as long as that lasts; each answer, or error, on a line.
KEPT = """
import http.client, sys
c = http.client.HTTPConnection("shop", 8080, timeout=20)
for line in sys.stdin:
    try: c.request("GET", "/"); print(c.getresponse().read().decode(), end="", flush=True)
    except (OSError, http.client.HTTPException) as e: print(type(e).__name__, flush=True); c.close()
"""

OPAQUE: dict[str, Callable[[Scene, Container], str]] = {
    "redis": redis,
    "psql": psql,
    "tls": lambda scene, client: who(scene, client, "https://shop:8444/"),
}


def test_whole_ports(scene: Scene, shop: Container, bystander: Container) -> None:
    """Whatever is spoken there is the app's, TLS too, which nobody opens on the way."""
    run = app(scene, shop, *NO_FILES)
    for name, ask in OPAQUE.items():
        assert ask(scene, bystander) == "app", name
    assert who(scene, bystander, "http://shop:8080/") == "app"
    assert asked(scene, bystander, "grpc", "ada", "ben") == [grpc_answers("app")] * 2
    assert asked(scene, bystander, "websocket", "ben") == [[f"app ben {n}" for n in range(3)]]
    assert run.end() == 143
    for name, ask in OPAQUE.items():
        assert ask(scene, bystander) == "target", name


def test_by_filter(scene: Scene, shop: Container, bystander: Container) -> None:
    """On one gRPC channel every other call is the app's, of all four kinds; an upgrade goes with its request."""
    run = app(scene, shop, *NO_FILES, *FILTER)
    for name, ask in OPAQUE.items():
        assert ask(scene, bystander) == "target", name
    users = ("ben", "ada", "eve", "ada", "ben")
    parties = ["app" if user == "ada" else "target" for user in users]
    assert asked(scene, bystander, "grpc", *users) == [grpc_answers(one) for one in parties]
    assert asked(scene, bystander, "websocket", *users) == [
        [f"{one} {user} {n}" for n in range(3)] for one, user in zip(parties, users, strict=True)
    ]
    run.said_all("clients of 8444 of", patience=10)
    run.end()
    said = "".join(run.err.seen)
    assert "speak TLS: a filter sees nothing in it, so it stays there" in said
    assert "8 of 20 requests to 50051 matched" in said


@pytest.mark.parametrize("options", [(), ("--steal-existing",)], ids=["left", "moved"])
def test_connections_that_were_open_before(
    scene: Scene, shop: Container, bystander: Container, options: tuple[str, ...]
) -> None:
    """They stay with the target, which is said; or are closed, so that their clients come again."""
    with Held(bystander, KEPT) as held:
        assert '"by": "target"' in held.ask()
        run = app(scene, shop, *options, what=("http",))
        if options:
            assert held.ask() in ("ConnectionResetError\n", "RemoteDisconnected\n")
            assert '"by": "app"' in held.ask()
        else:
            line = run.said("open before and stay", 10)
            assert "to 8080 of" in line
            assert '"by": "target"' in held.ask()
        assert who(scene, bystander, "http://shop:8080/") == "app"
        run.end()
        assert who(scene, bystander, "http://shop:8080/") == "target"
