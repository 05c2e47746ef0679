"""The way to an engine and what it says on it, with a server that answers as each test wants."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from runner import engine
from runner.contexts import Endpoint
from runner.engine_dial import Dialler
from runner.engine_http import Exchange, NoHttp, Refused
from runner.errors import Refusal
from runner.hijack import as_socket

from .engine_stage import Asked, Play, Stage, on_tcp, on_unix


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "engine.sock"


@contextmanager
def exchange(endpoint: Endpoint | Path) -> Iterator[Exchange]:
    with closing(Exchange(Dialler(at(endpoint) if isinstance(endpoint, Path) else endpoint))) as ours:
        yield ours


def at(place: Path) -> Endpoint:
    return Endpoint(f"unix://{place}", "a test")


def ok(asked: Asked) -> None:
    asked.answer(b'{"Id": "abc"}')


def test_a_call_says_what_the_api_wants_and_the_connection_is_kept(place: Path) -> None:
    with on_unix(place, ok) as stage, exchange(place) as ours:
        query = {"all": True, "filters": {"label": ["a=b"]}, "name": "", "platform": None}
        assert ours.json("GET", "/containers/json", query) == {"Id": "abc"}
        assert ours.json("POST", "/containers/create", {"name": "x y"}, {"Image": "i"}) == {"Id": "abc"}
        first, second = stage.asked
    assert first.line == "GET /containers/json?all=1&filters=%7B%22label%22%3A+%5B%22a%3Db%22%5D%7D HTTP/1.1"
    assert (first.headers["host"], first.body) == ("docker", b"")
    assert second.line == "POST /containers/create?name=x+y HTTP/1.1"
    assert (second.headers["content-type"], second.body) == ("application/json", b'{"Image": "i"}')
    assert first.connection == second.connection == 1


def test_a_connection_that_the_engine_closed_is_not_used_again(place: Path) -> None:
    def once(asked: Asked) -> None:
        ok(asked)
        asked.hang_up()

    with on_unix(place, once) as stage, exchange(place) as ours:
        for number in (1, 2, 3):
            assert ours.json("POST", "/x") == {"Id": "abc"}
            assert stage.ended.acquire(timeout=30)
            assert stage.asked[-1].connection == number


@pytest.mark.parametrize(
    ("said", "sentence", "status"),
    [
        (
            b'HTTP/1.1 404 Not Found\r\nContent-Length: 28\r\n\r\n{"message":"No such: cat"}\r\n',
            "No such: cat",
            404,
        ),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 5\r\n\r\nlater", "later", 503),
        (b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", "500 Oh", 500),
    ],
)
def test_a_refusal_is_in_the_engines_words(place: Path, said: bytes, sentence: str, status: int) -> None:
    with on_unix(place, lambda asked: asked.say(said)) as stage, exchange(place) as ours:
        for call in (lambda: ours.json("GET", "/x"), lambda: ours.stream("/x"), lambda: ours.lines("/x")):
            with pytest.raises(Refused) as refused:
                call()
            assert (refused.value.sentence, refused.value.status) == (sentence, status)
        assert len(stage.asked) == 3


def test_chunks_and_an_answer_without_a_length(place: Path) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[1,\r\n2\r\n2]\r\n0\r\n\r\n"

    def play(asked: Asked) -> None:
        if asked.line.startswith("GET /chunks"):
            asked.say(chunked)
        else:
            asked.say(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n[3]")
            asked.hang_up()

    with on_unix(place, play), exchange(place) as ours:
        assert ours.json("GET", "/chunks") == [1, 2]
        assert ours.json("GET", "/rest") == [3]
        assert ours.json("GET", "/chunks") == [1, 2]


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (b"SSH-2.0-OpenSSH\r\n", NoHttp),
        (b"", ConnectionResetError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", ConnectionResetError),
    ],
)
def test_what_breaks_off_or_is_no_http_is_the_connections_failure(
    place: Path, said: bytes, kind: type[OSError]
) -> None:
    def play(asked: Asked) -> None:
        asked.say(said)
        asked.hang_up()

    with on_unix(place, play), exchange(place) as ours, pytest.raises(kind):
        ours.json("GET", "/x")


def test_a_stream_begins_right_behind_the_head(place: Path) -> None:
    def play(asked: Asked) -> None:
        assert (asked.headers["connection"], asked.headers["upgrade"]) == ("Upgrade", "tcp")
        asked.say(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nfirst")
        asked.say(b"echo " + asked.sock.recv(100))
        asked.hang_up()

    with on_unix(place, play), exchange(place) as ours:
        sock = as_socket(ours.stream("/exec/1/start", None, {"Tty": False}))
    with sock:
        assert sock.recv(5) == b"first"
        sock.sendall(b"words")
        sock.shutdown(socket.SHUT_WR)
        with sock.makefile("rb") as rest:
            assert rest.read() == b"echo words"


def test_lines_come_one_by_one_until_the_stream_breaks(place: Path) -> None:
    def play(asked: Asked) -> None:
        asked.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        asked.say(b'a\r\n{"id":"a"}\r\n')
        asked.say(b'2\r\n\n{\r\na\r\n"id":"b"}\n\r\n')
        asked.say(b"zz\r\n")

    with on_unix(place, play), exchange(place) as ours:
        lines = ours.lines("/events")
        assert [next(lines), next(lines)] == [{"id": "a"}, {"id": "b"}]
        assert list(lines) == []


# --- ways ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with cert.pem and key.pem, for 127.0.0.1."""
    folder = tmp_path_factory.mktemp("tls")
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=engine"
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    names = ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(["openssl", *words.split(), *files, *names], check=True, capture_output=True)
    return folder


@pytest.fixture
def secure(certificate: Path) -> Iterator[tuple[Stage, str]]:
    """An engine that asks for our certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificate / "cert.pem"))
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    context.verify_mode = ssl.CERT_REQUIRED

    def play(asked: Asked) -> None:
        if "start" in asked.line:
            asked.say(b"HTTP/1.1 101 UPGRADED\r\n\r\nfirst")
            asked.say(b"echo " + asked.sock.recv(100))
        else:
            ok(asked)

    with on_tcp(play, context) as (stage, port):
        yield stage, f"tcp://127.0.0.1:{port}"


def test_tls_with_both_certificates(secure: tuple[Stage, str], certificate: Path) -> None:
    cert, key = str(certificate / "cert.pem"), str(certificate / "key.pem")
    with exchange(Endpoint(secure[1], "a test", cert, cert, key)) as ours:
        assert ours.json("GET", "/x") == ours.json("GET", "/x") == {"Id": "abc"}
        assert secure[0].asked[1].connection == 1
        assert secure[0].asked[1].headers["host"] == secure[1].removeprefix("tcp://")
        sock = as_socket(ours.stream("/exec/1/start"))
    with sock:
        assert sock.recv(5) == b"first"
        sock.sendall(b"words")
        assert sock.recv(10) == b"echo words"


def opened(*endpoints: Endpoint) -> Endpoint:
    """Of the engine that answered."""
    with closing(asyncio.run(engine.connect(endpoints))) as found:
        return found.endpoint


def test_a_certificate_that_is_not_to_be_trusted(secure: tuple[Stage, str], certificate: Path) -> None:
    cert, key = str(certificate / "cert.pem"), str(certificate / "key.pem")
    with pytest.raises(Refusal, match="is not to be trusted: self-signed") as refused:
        opened(Endpoint(secure[1], "a test", "", cert, key))
    assert refused.value.next_step == "check DOCKER_CERT_PATH"
    with exchange(Endpoint(secure[1], "a test", "", cert, key, verify=False)) as ours:
        ours.json("GET", "/x")
    with pytest.raises(Refusal, match="cannot be used: No such file"):
        opened(Endpoint(secure[1], "a test", "", "/nowhere/cert.pem", key))


FAKE_SSH = """#!{python}
import os, socket, sys, threading
with open({log!r}, "a") as log:
    print(*sys.argv[1:], file=log)
if "refused.example" in sys.argv:
    sys.exit("ssh: connect to host refused.example port 22: Connection refused")
there = socket.socket(socket.AF_UNIX)
there.connect({place!r})
def back():
    while octets := there.recv(65536):
        os.write(1, octets)
    os._exit(0)
threading.Thread(target=back).start()
while octets := os.read(0, 65536):
    there.sendall(octets)
there.shutdown(socket.SHUT_WR)
"""


@pytest.fixture
def ssh(tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The log of a program of this name, which joins its stdin and stdout to ``place`` as the far docker would."""
    program, log = tmp_path / "bin/ssh", tmp_path / "ssh.log"
    program.parent.mkdir()
    program.write_text(FAKE_SSH.format(python=sys.executable, log=str(log), place=str(place)))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return log


def test_ssh_as_dockers_client_goes(place: Path, ssh: Path) -> None:
    def play(asked: Asked) -> None:
        if "start" in asked.line:
            asked.say(b"HTTP/1.1 101 UPGRADED\r\n\r\n")
            with asked.sock.makefile("rb") as file:
                asked.say(b"echo " + file.read())
            asked.hang_up()
        else:
            ok(asked)

    far = Endpoint("ssh://me@far.example:2222", "a test")
    with on_unix(place, play), exchange(far) as ours:
        assert ours.json("GET", "/x") == ours.json("GET", "/x") == {"Id": "abc"}
        said = ssh.read_text()
        assert said == "-o ConnectTimeout=30 -T -l me -p 2222 -- far.example docker system dial-stdio\n"
        with as_socket(ours.stream("/exec/1/start")) as sock:
            sock.sendall(b"words")
            sock.shutdown(socket.SHUT_WR)
            with sock.makefile("rb") as rest:
                assert rest.read() == b"echo words"


@pytest.mark.usefixtures("ssh")
def test_ssh_that_fails_says_so_itself_and_we_name_the_engine(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(
        Refusal, match=r"ssh://refused.example \(a test\) cannot be used: .*(closed|reset)"
    ) as refused:
        opened(Endpoint("ssh://refused.example", "a test"))
    assert refused.value.next_step == "`docker info` should say more"
    assert "port 22: Connection refused" in capfd.readouterr().err


@pytest.mark.parametrize(
    "url", ["fd://3", "tcp://", "unix://", "ssh://", "tcp://x:notaport", "npipe:////./pipe/x"]
)
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(Refusal, match="is no address of an engine") as refused:
        opened(Endpoint(url, "DOCKER_HOST"))
    assert "unix:///PATH" in refused.value.next_step


def test_nobody_there_and_not_for_us(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="no container engine answers at unix:///nowhere"):
        opened(Endpoint("unix:///nowhere", "a test"))
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
    def play(asked: Asked) -> None:
        asked.answer(b"<html>nginx</html>", "403 Forbidden")

    with on_unix(place, play), pytest.raises(Refusal, match="cannot be used: <html>nginx"):
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

        with on_unix(place, play) as stage:
            with closing(await engine.connect([at(place)])) as found:
                await _cancelled(found, begun)
                settled = asyncio.create_task(found.settled())
                await asyncio.sleep(0)
                assert not settled.done()
                done.set()
                await settled
            return [one.line.split()[1] for one in stage.asked]

    assert asyncio.run(go()) == ["/_ping", "/containers/x/start"]


def test_the_engines_refusals_by_what_they_mean(place: Path) -> None:
    answers: dict[str, Play] = {
        "DELETE": lambda asked: asked.answer(
            b'{"message":"removal of x is already in progress"}', "409 Conflict"
        ),
        "POST": lambda asked: asked.answer(b'{"message":"No such container: x"}', "404 Not Found"),
        "GET": ok,
    }

    async def go() -> list[str]:
        with on_unix(place, lambda asked: answers[asked.line.split()[0]](asked)) as stage:
            with closing(await engine.connect([at(place)])) as found:
                await found.remove("x")
                with pytest.raises(engine.EngineError) as error:
                    await found.start("x")
            assert (error.value.missing, error.value.sentence) == (True, "No such container: x")
            return [one.line for one in stage.asked[1:]]

    assert asyncio.run(go()) == [
        "DELETE /containers/x?v=1&force=1 HTTP/1.1",
        "POST /containers/x/wait?condition=removed HTTP/1.1",
        "POST /containers/x/start HTTP/1.1",
    ]
