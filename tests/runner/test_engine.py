"""What an engine answers, and what becomes of it, with a server that answers as each test wants."""

from __future__ import annotations

import asyncio
import socket
from contextlib import closing
from pathlib import Path

import pytest

from runner import engine
from runner.contexts import Endpoint
from runner.errors import Refusal

from .engine_stage import Asked, on_unix, sdks_sockets

__all__ = ["sdks_sockets"]

pytestmark = pytest.mark.usefixtures("sdks_sockets")

VERSION = b'{"ApiVersion": "1.41"}'


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "engine.sock"


def at(place: Path) -> Endpoint:
    return Endpoint(f"unix://{place}", "a test")


def ok(asked: Asked) -> None:
    asked.answer(VERSION)


def opened(*endpoints: Endpoint) -> Endpoint:
    """Of the engine that answered."""
    with closing(asyncio.run(engine.connect(endpoints))) as found:
        return found.endpoint


def test_nobody_there() -> None:
    with pytest.raises(
        Refusal, match=r"no container engine answers at unix:///nowhere \(a test\)"
    ) as refused:
        opened(Endpoint("unix:///nowhere", "a test"))
    assert "DOCKER_HOST" in refused.value.next_step
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(Refusal, match=f"no container engine answers at tcp://127.0.0.1:{port}"):
        opened(Endpoint(f"tcp://127.0.0.1:{port}", "a test"))


def test_the_first_that_answers(place: Path, tmp_path: Path) -> None:
    with on_unix(place, ok):
        assert opened(at(tmp_path / "none"), at(place)) == at(place)
        with pytest.raises(Refusal, match="none"):
            opened(at(tmp_path / "none"), at(tmp_path / "neither"))


def test_another_server_is_no_engine(place: Path) -> None:
    with (
        on_unix(place, lambda asked: asked.answer(b"<html>nginx</html>", "403 Forbidden")),
        pytest.raises(Refusal, match=r"the engine at .* cannot be used: "),
    ):
        opened(at(place))


async def _cancelled(found: engine.Engine, begun: asyncio.Event) -> None:
    asking = asyncio.create_task(found.start("x"))
    await begun.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


def test_a_call_whose_asker_left_is_waited_for(place: Path) -> None:
    async def go() -> list[str]:
        loop, begun, done = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

        def play(asked: Asked) -> None:
            if "start" in asked.line:
                loop.call_soon_threadsafe(begun.set)
                asyncio.run_coroutine_threadsafe(done.wait(), loop).result(30)
            ok(asked)

        with on_unix(place, play) as stage, closing(await engine.connect([at(place)])) as found:
            await _cancelled(found, begun)
            settled = asyncio.create_task(found.settled())
            await asyncio.sleep(0)
            assert not settled.done()
            done.set()
            await settled
            return [one.line.split()[1] for one in stage.asked]

    assert asyncio.run(go()) == ["/version", "/v1.41/containers/x/start"]


def test_the_engines_refusals_by_what_they_mean(place: Path) -> None:
    """A removal under way is waited for; what is not there is so called."""
    answers = {
        "DELETE": (b'{"message":"removal of x is already in progress"}', "409 Conflict"),
        "POST": (b'{"message":"No such container: x"}', "404 Not Found"),
        "GET": (VERSION, "200 OK"),
    }

    async def go() -> list[str]:
        with (
            on_unix(place, lambda asked: asked.answer(*answers[asked.line.split()[0]])) as stage,
            closing(await engine.connect([at(place)])) as found,
        ):
            await found.remove("x")
            with pytest.raises(engine.EngineError) as error:
                await found.start("x")
            assert (error.value.missing, error.value.sentence) == (True, "No such container: x")
            return [" ".join(one.line.partition("?")[0].split()[:2]) for one in stage.asked[1:]]

    assert asyncio.run(go()) == [
        "DELETE /v1.41/containers/x",
        "POST /v1.41/containers/x/wait",
        "POST /v1.41/containers/x/start",
    ]
