"""Under load: every request once, bulk octet by octet. How fast is for the benchmarks; here nothing may be missing."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.net.mirror.conftest import Start
from tests.net.mirror.lab import TARGET4, TCP, Lab, Mirror, run

CONF = """
worker_processes 1; daemon off; master_process off; pid {folder}/pid; error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
    access_log off; keepalive_requests 100000000;
    client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
    uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    server {{
        listen {address}:8080;
        location / {{ return 200 "ok"; }}
        location /status {{ stub_status; }}
    }}
}}
"""


# A mirror that has no CPU loses packets, and says so; what is asked here is what one loses that has. So where others
# are busy, too, it is served first, and it is the load that becomes less.
GIVES_WAY = ("nice", "-n", "10")


@pytest.fixture
def nginx(lab: Lab, tmp_path: Path) -> Iterator[None]:
    """Serving in the target's namespace; it says so by answering."""
    conf = tmp_path / "nginx.conf"
    conf.write_text(CONF.format(folder=tmp_path, address=TARGET4))
    server = subprocess.Popen(["ip", "netns", "exec", lab.target, *GIVES_WAY, "nginx", "-c", str(conf)])
    try:
        retry = ("--retry", "50", "--retry-connrefused", "--retry-delay", "0", "--retry-max-time", "20")
        run("ip", "netns", "exec", lab.client, "curl", "-sf", *retry, f"http://{TARGET4}:8080/")
        yield
    finally:
        server.terminate()
        server.wait(10)


def served(lab: Lab) -> int:
    """Requests, this one included, says the target."""
    text = run("ip", "netns", "exec", lab.client, "curl", "-sf", f"http://{TARGET4}:8080/status")
    found = re.search(r"\n \d+ \d+ (\d+)", text)
    assert found
    return int(found[1])


def load(lab: Lab, *options: str) -> None:
    url = f"http://{TARGET4}:8080/load"
    text = run("ip", "netns", "exec", lab.client, *GIVES_WAY, "wrk", "-t1", "-d4", *options, url)
    assert "Non-2xx" not in text
    assert "Socket errors" not in text


def served_first(made: Mirror) -> Mirror:
    os.setpriority(os.PRIO_PROCESS, made.pid, -20)
    return made


def requests_mirrored(made: Mirror) -> int:
    return sum(one.data.count(b"GET /load HTTP/1.1\r\n") for one in made.end())


@pytest.mark.parametrize(
    "options",
    [("-c20",), ("-c500",), ("-c20", "-H", "Connection: close")],
    ids=["keep-alive", "many", "connection each"],
)
@pytest.mark.usefixtures("nginx")
@pytest.mark.slow
def test_every_request_once(lab: Lab, fast_mirror: Start, options: tuple[str, ...]) -> None:
    made = served_first(fast_mirror())
    made.ports((TCP, 8080, 80))
    before = served(lab)
    load(lab, *options)
    after = served(lab) - 1
    counted = made.counters()
    assert (counted["dropped"], counted["lost_packets"], counted["skipped"]) == (0, 0, 0)
    assert requests_mirrored(made) == after - before
    assert after - before > 1000


@pytest.mark.usefixtures("nginx")
@pytest.mark.slow
def test_a_load_that_has_begun_is_joined(lab: Lab, fast_mirror: Start) -> None:
    made = served_first(fast_mirror())
    loading = threading.Thread(target=load, args=(lab, "-c50"))
    before = served(lab)
    loading.start()
    while served(lab) - before < 2000:
        pass
    made.ports((TCP, 8080, 80))
    loading.join()
    counted = made.counters()
    assert counted["joined"] == 50
    assert (counted["dropped"], counted["skipped"]) == (0, 0)
    for one in made.end():
        assert one.data.startswith(b"GET /")
        assert one.data.endswith(b"\r\n\r\n")


PATTERN = 1_000_003


def pattern() -> bytes:
    """As harness.c makes it: Marsaglia's xorshift64."""
    x, mask, octets = 88172645463325252, (1 << 64) - 1, bytearray()
    for _ in range(PATTERN):
        x ^= x << 13 & mask
        x ^= x >> 7
        x ^= x << 17 & mask
        octets.append(x & 255)
    return bytes(octets)


@pytest.mark.slow
def test_bulk_octet_by_octet(lab: Lab, fast_mirror: Start) -> None:
    made = fast_mirror("pattern")
    piece = pattern()
    repeated = 400

    with lab.listen() as listener:
        port = listener.getsockname()[1]
        made.ports((TCP, port, port))
        client = lab.connect(TARGET4, port)
        server = listener.accept()[0]

        def send() -> None:
            for _ in range(repeated):
                client.sendall(piece)
            client.close()

        sender = threading.Thread(target=send)
        sender.start()
        with server:
            buffer = bytearray(1 << 20)
            while server.recv_into(buffer):
                pass
        sender.join()
    (seen,) = made.end()
    # Faster than the bridge can take it is cut off; what was delivered is right all the same.
    assert seen.wrong == 0
    assert seen.octets == repeated * PATTERN or seen.end == 104
    assert seen.octets > PATTERN
