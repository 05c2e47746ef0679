"""A service of many protocols, each of whose answers says whose it is: what steals stand between is told apart by that.

    shop.py NAME [PROTOCOL…]

Protocols, all of them unless some are named: http 8080, tls 8444 (HTTP in it), grpc 50051, websocket 8765, redis 6379,
postgres 5432. {"listening": […]} is written once all accept. HTTP's paths, of who is
called "app": /never is taken and not answered, /half is answered by half; both are told as {"asked": PATH}.
/octets/N has so many of everybody. gRPC: shop.Shop/One, /Down, /Up, /Both, and its health service.

Lines on stdin, each answered by {"done": …}: "kill" ends whoever serves at once, as SIGKILL does; "serve" begins anew.
Its end is the end of all.
"""

from __future__ import annotations

import http.server
import json
import os
import signal
import socketserver
import ssl
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

PORTS = {"http": 8080, "tls": 8444, "grpc": 50051, "websocket": 8765, "redis": 6379, "postgres": 5432}


def say(**what: object) -> None:
    print(json.dumps(what), flush=True)


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    address_family = 10  # both: AF_INET6
    daemon_threads = True
    request_queue_size = 128
    context: ssl.SSLContext | None = None

    def finish_request(self, request, client_address) -> None:
        """On a thread of its own: a handshake that is not begun holds up nobody."""
        if self.context is not None:
            request = self.context.wrap_socket(request, server_side=True)
        super().finish_request(request, client_address)

    def handle_error(self, request, client_address) -> None:
        """A client that went away, and a port probe that speaks no TLS: what servers see every day."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    name = ""

    def do_GET(self) -> None:
        if self.name == "app" and self.path in ("/never", "/half"):
            say(asked=self.path)
            if self.path == "/half":
                self.answer(b"half an answer", length=1000)
                self.wfile.flush()
            threading.Event().wait()
        if self.path.startswith("/octets/"):
            self.answer(b"x" * int(self.path[8:]))
            return
        peer = [self.client_address[0].removeprefix("::ffff:"), self.client_address[1]]
        who = {"by": self.name, "path": self.path, "user": self.headers.get("X-User"), "peer": peer}
        self.answer(json.dumps(who).encode() + b"\n")

    do_POST = do_GET

    def answer(self, body: bytes, length: int = 0) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(length or len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        """Nothing."""


def http_server(port: int, context: ssl.SSLContext | None = None) -> None:
    made = Server(("::", port), Handler)
    made.context = context
    threading.Thread(target=made.serve_forever, daemon=True).start()


def tls_context() -> ssl.SSLContext:
    files = ["/tmp/shop.key", "/tmp/shop.crt"]
    words = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=shop"]
    if not os.path.exists(files[1]):
        made = ["openssl", "req", "-x509", "-days", "2", *words, "-keyout", files[0], "-out", files[1]]
        subprocess.run(made, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files[1], files[0])
    return context


def grpc_server(name: str) -> object:
    """Octets are its messages: no schema is needed to see where they go."""
    import grpc

    me = name.encode()
    made = grpc.method_handlers_generic_handler("shop.Shop", {
        "One": grpc.unary_unary_rpc_method_handler(lambda ask, _: me + b" " + ask),
        "Down": grpc.unary_stream_rpc_method_handler(lambda ask, _: (me + b" %d" % n for n in range(int(ask)))),
        "Up": grpc.stream_unary_rpc_method_handler(lambda asks, _: me + b" " + b",".join(asks)),
        "Both": grpc.stream_stream_rpc_method_handler(lambda asks, _: (me + b" " + ask for ask in asks)),
    })  # fmt: skip
    serving = b"\x08\x01"  # HealthCheckResponse {status: SERVING}
    check = grpc.unary_unary_rpc_method_handler(lambda _, __: serving)
    health = grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": check})
    server = grpc.server(ThreadPoolExecutor(16), handlers=(made, health))
    assert server.add_insecure_port(f"[::]:{PORTS['grpc']}")
    server.start()
    return server


def websocket_server(name: str) -> None:
    import asyncio

    import websockets

    async def echo(socket) -> None:
        async for message in socket:
            await socket.send(f"{name} {message}")

    async def serve() -> None:
        async with websockets.serve(echo, "", PORTS["websocket"]):
            ready.set()
            await asyncio.Event().wait()

    ready = threading.Event()
    threading.Thread(target=lambda: asyncio.run(serve()), daemon=True).start()
    ready.wait()


def servers(name: str, protocols: set[str], told: int) -> None:
    """What is Python's: in a process of its own, that can be killed."""
    Handler.name = name
    if "http" in protocols:
        http_server(PORTS["http"])
    if "tls" in protocols:
        http_server(PORTS["tls"], tls_context())
    kept = grpc_server(name) if "grpc" in protocols else None
    if "websocket" in protocols:
        websocket_server(name)
    os.close(told)
    while True:
        time.sleep(1000)
    del kept


def redis(name: str) -> None:
    words = ["--port", str(PORTS["redis"]), "--bind", "*", "--protected-mode", "no", "--save", ""]
    subprocess.run(["redis-server", *words, "--daemonize", "yes"], check=True, capture_output=True)
    ask = ["redis-cli", "set", "name", name]
    while subprocess.run(ask, capture_output=True, check=False).stdout != b"OK\n":
        time.sleep(0.02)  # redis-server --daemonize tells nobody when it accepts


def postgres(name: str) -> None:
    (programs,) = [f"/usr/lib/postgresql/{one}/bin" for one in os.listdir("/usr/lib/postgresql")]
    data = "/tmp/shop.postgres"
    become = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    run = lambda *words: subprocess.run([*become, *words], check=True, capture_output=True, cwd="/tmp")  # noqa: E731
    run(f"{programs}/initdb", "-D", data, "-A", "trust", "--no-sync", "--no-instructions")
    with open(f"{data}/pg_hba.conf", "a") as file:
        file.write("host all all all trust\n")
    options = f"-p {PORTS['postgres']} -c listen_addresses=* -c cluster_name={name} -c fsync=off -k /tmp"
    run(f"{programs}/pg_ctl", "-D", data, "-o", options, "-w", "-l", f"{data}/log", "start")


def serve(name: str, protocols: set[str]) -> int:
    """The process that does, once it accepts."""
    ready, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ready)
        os.set_inheritable(told, False)
        servers(name, protocols, told)
    os.close(told)
    os.read(ready, 1)
    os.close(ready)
    return pid


def main() -> None:
    name, protocols = sys.argv[1], set(sys.argv[2:]) or set(PORTS)
    if "redis" in protocols:
        redis(name)
    if "postgres" in protocols:
        postgres(name)
    pid = serve(name, protocols)
    say(listening=sorted(protocols))
    for line in sys.stdin:
        match line.strip():
            case "kill":
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            case "serve":
                pid = serve(name, protocols)
        say(done=line.strip())
    signal.pause()


main()
