"""Calls and watches of one API server, and what is said when it says no."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme

from runner.errors import Refusal
from runner.kube.api import Cluster, KubeError, KubeOptions, connect
from runner.kube.errors import described, of_answer
from tests.runner.kube.served import Asked, Handle, Proxied, Served, proxy, served, socks, status

HOME = Path("/nonexistent")


async def cluster(
    there: Served, folder: Path, environ: dict[str, str] | None = None, /, **said: Any
) -> Cluster:
    user = said.pop("user", None)
    options = said.pop("options", KubeOptions())
    path = there.kubeconfig(folder, user, **said)
    given = KubeOptions(path, options.context, options.namespace, options.as_user, options.as_groups)
    return await connect(given, environ or {}, HOME)


async def nothing(asked: Asked) -> None:
    await asked.respond(404, status(404, "NotFound", f"{asked.path} not found"))


# --- calls ----------------------------------------------------------------------------------------------------------


async def test_what_each_call_sends(tmp_path: Path) -> None:
    async def handle(asked: Asked) -> None:
        if asked.method == "DELETE" and "gone" in asked.path:
            await nothing(asked)
        else:
            await asked.respond(200, {"did": asked.method})

    async with served(handle) as server:
        one = await cluster(server, tmp_path, user={"token": "secret"})
        pods = "/api/v1/namespaces/shop/pods"
        assert one.version == "v1.99"
        assert one.namespace == "shop"
        assert await one.get(pods, labelSelector="app=x,y in (a b)") == {"did": "GET"}
        await one.create(pods, {"a": 1}, dryRun="All")
        for kind in ("merge", "strategic", "json", "apply"):
            await one.patch(f"{pods}/p", {"b": 2}, kind)
        assert await one.delete(f"{pods}/p") == {"did": "DELETE"}
        assert await one.delete(f"{pods}/gone") is None
        await one.close()
    told = server.asked[1:]
    assert {asked.headers["authorization"] for asked in server.asked} == {"Bearer secret"}
    assert told[0].target == f"{pods}?labelSelector=app%3Dx%2Cy+in+%28a+b%29"
    assert json.loads(told[1].body) == {"a": 1}
    assert told[1].target == f"{pods}?dryRun=All"
    assert [asked.headers["content-type"].split("/")[1] for asked in told[2:6]] == [
        "merge-patch+json",
        "strategic-merge-patch+json",
        "json-patch+json",
        "apply-patch+yaml",
    ]
    assert {asked.connection for asked in server.asked} == {1}, "one connection is enough for calls in a row"


async def test_a_list_has_all_its_pages_and_the_version_of_the_last(tmp_path: Path) -> None:
    async def handle(asked: Asked) -> None:
        if "continue=more" in asked.target:
            await asked.respond(200, {"metadata": {"resourceVersion": "7"}, "items": [{"n": 3}]})
        else:
            page = {"metadata": {"resourceVersion": "7", "continue": "more"}, "items": [{"n": 1}, {"n": 2}]}
            await asked.respond(200, page)

    async with served(handle) as server:
        one = await cluster(server, tmp_path)
        assert await one.list("/api/v1/pods") == ([{"n": 1}, {"n": 2}, {"n": 3}], "7")
        await one.close()


async def test_a_list_whose_rest_is_too_old_is_asked_for_whole(tmp_path: Path) -> None:
    async def handle(asked: Asked) -> None:
        if "continue=more" in asked.target:
            await asked.respond(410, status(410, "Expired", "too old"))
        elif "limit" in asked.target:
            await asked.respond(200, {"metadata": {"continue": "more"}, "items": [{"n": 1}]})
        else:
            await asked.respond(200, {"metadata": {"resourceVersion": "9"}, "items": [{"n": 1}, {"n": 2}]})

    async with served(handle) as server:
        one = await cluster(server, tmp_path)
        assert await one.list("/api/v1/pods") == ([{"n": 1}, {"n": 2}], "9")
        await one.close()


async def test_a_busy_server_is_asked_again_and_one_that_fails_is_not(tmp_path: Path) -> None:
    answers = [(429, {"Retry_After": "0"}), (503, {"Retry_After": "0"}), (200, {})]

    async def handle(asked: Asked) -> None:
        code, headers = answers.pop(0) if answers else (500, {})
        await asked.respond(
            code, {"code": code, "message": "no"} if code != 200 else {"fine": True}, **headers
        )

    async with served(handle) as server:
        one = await cluster(server, tmp_path)
        assert await one.create("/api/v1/pods", {}) == {"fine": True}
        with pytest.raises(KubeError) as raised:
            await one.create("/api/v1/pods", {})
        assert raised.value.status == 500
        assert len(server.asked) == 1 + 3 + 1
        await one.close()


async def test_a_kept_connection_that_the_server_closed_is_no_error(tmp_path: Path) -> None:
    """For what changes something too: the end was there to see before it was asked."""

    async def handle(asked: Asked) -> None:
        await asked.respond(200, {"n": asked.connection})
        asked.drop()

    async with served(handle) as server:
        one = await cluster(server, tmp_path)
        for _ in range(5):
            await one.create("/api/v1/pods", {})
            await asyncio.sleep(0)
        await one.close()


async def test_calls_at_once_have_connections_of_their_own(tmp_path: Path) -> None:
    waiting = asyncio.Event()

    async def handle(asked: Asked) -> None:
        if len(server.asked) == 1 + 5:
            waiting.set()
        await waiting.wait()
        await asked.respond(200, {})

    async with served(handle) as server:
        one = await cluster(server, tmp_path)
        await asyncio.wait_for(asyncio.gather(*(one.get(f"/api/v1/pods/{n}") for n in range(5))), 5)
        await one.close()


async def test_a_call_that_is_given_up_leaves_nothing_behind(tmp_path: Path) -> None:
    asked_once = asyncio.Event()

    async def handle(asked: Asked) -> None:
        if asked.path == "/slow":
            asked_once.set()
            await asyncio.sleep(60)
        await asked.respond(200, {"path": asked.path})

    async with served(handle) as server:
        one = await cluster(server, tmp_path)
        call = asyncio.create_task(one.get("/slow"))
        await asked_once.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await one.get("/quick") == {"path": "/quick"}  # not the other one's answer
        await one.close()


# --- credentials ----------------------------------------------------------------------------------------------------


def plugin(folder: Path, script: str, **more: Any) -> dict[str, Any]:
    """A user with an exec plugin; the script may count its calls in $0.count."""
    path = folder / "plugin"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "./plugin", **more}}


GIVES = """n=$(cat $0.count 2>/dev/null || echo 0); n=$((n+1)); echo $n > $0.count
cat <<END
{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
 "status": {"token": "t$n" %s}}
END"""


async def test_a_refused_token_is_asked_for_again_once(tmp_path: Path) -> None:
    async def handle(asked: Asked) -> None:
        if asked.headers["authorization"] == "Bearer t1" and asked.path != "/first":
            await asked.respond(401, status(401, "Unauthorized", "Unauthorized"))
        else:
            await asked.respond(200, {"as": asked.headers["authorization"]})

    async with served(handle) as server:
        one = await cluster(server, tmp_path, user=plugin(tmp_path, GIVES % ""))
        assert await one.get("/first") == {"as": "Bearer t1"}
        assert await one.create("/api/v1/pods", {}) == {"as": "Bearer t2"}
        assert await one.get("/first") == {"as": "Bearer t2"}
        assert (tmp_path / "plugin.count").read_text().strip() == "2"
        await one.close()


async def test_a_token_is_used_until_it_lapses(tmp_path: Path) -> None:
    lasting = GIVES % ', "expirationTimestamp": "2999-01-01T00:00:00.123456789Z"'
    lapsed = GIVES % ', "expirationTimestamp": "2001-01-01T00:00:00Z"'
    for script, last in ((lasting, "Bearer t1"), (lapsed, "Bearer t3")):

        async def handle(asked: Asked) -> None:
            await asked.respond(200, {"as": asked.headers["authorization"]})

        folder = tmp_path / last[-2:]
        folder.mkdir()
        async with served(handle) as server:
            one = await cluster(server, folder, user=plugin(folder, script))
            await one.get("/1")
            assert await one.get("/2") == {"as": last}
            await one.close()


async def test_what_a_plugin_is_told(tmp_path: Path) -> None:
    script = f"""printf '%s' "$KUBERNETES_EXEC_INFO" > {tmp_path}/info; echo "$1 $WHO" > {tmp_path}/argv
{GIVES % ""}"""
    user = plugin(
        tmp_path, script, args=["a b"], env=[{"name": "WHO", "value": "anna"}], provideClusterInfo=True
    )
    extensions = [{"name": "client.authentication.k8s.io/exec", "extension": {"audience": "x"}}]
    async with served(nothing) as server:
        await (
            await cluster(server, tmp_path, {"PATH": "/usr/bin:/bin"}, user=user, extensions=extensions)
        ).close()
    info = json.loads((tmp_path / "info").read_text())
    assert info["spec"]["interactive"] is False
    assert info["spec"]["cluster"] == {"server": server.url, "config": {"audience": "x"}}
    assert (tmp_path / "argv").read_text() == "a b anna\n"


@pytest.mark.parametrize(
    ("script", "more", "says"),
    [
        ("echo 'session over: run login' >&2; exit 3", {}, "it ended with 3:\nsession over: run login"),
        ("echo nonsense", {}, "no ExecCredential"),
        (GIVES % "", {"apiVersion": "client.authentication.k8s.io/v1beta1"}, "answers as"),
        ("exit 0", {"command": "not-there-at-all", "installHint": "get it at x"}, "No such file"),
        ("exit 0", {"interactiveMode": "Always"}, "no terminal"),
        ('echo \'{"apiVersion": "client.authentication.k8s.io/v1", "status": {}}\'', {}, "neither a token"),
    ],
)
async def test_a_plugin_that_fails_is_told_in_its_own_words(
    tmp_path: Path, script: str, more: dict[str, Any], says: str
) -> None:
    async with served(nothing) as server:
        with pytest.raises(Refusal) as refused:
            await cluster(server, tmp_path, {"PATH": "/usr/bin:/bin"}, user=plugin(tmp_path, script, **more))
    assert says in refused.value.what
    assert refused.value.next_step == more.get("installHint", refused.value.next_step) != ""


async def test_a_token_file_is_read_again_when_it_is_refused(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("old\n")

    async def handle(asked: Asked) -> None:
        if asked.headers["authorization"] == "Bearer old":
            await asked.respond(401, status(401, "Unauthorized", "Unauthorized"))
        else:
            await asked.respond(200, {"as": asked.headers["authorization"]})

    async with served(handle) as server:
        one = await cluster(server, tmp_path, user={"tokenFile": "token"})  # relative to its file
        token.write_text("new\n")
        assert await one.get("/x") == {"as": "Bearer new"}
        await one.close()


def id_token(until: float) -> str:
    """As far as anybody on this side looks: three parts, the second with an end."""

    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return f"{part({'alg': 'none'})}.{part({'exp': int(until)})}.c2ln"


async def test_the_older_auth_providers(tmp_path: Path) -> None:
    """They are the kubernetes package's to know: OpenID Connect's token that is good, and one that a command gives."""
    script = tmp_path / "give"
    script.write_text(
        '#!/bin/sh\necho \'{"credential": {"access_token": "given", "token_expiry": "2999-01-01T00:00:00Z"}}\'\n'
    )
    script.chmod(0o755)
    good = id_token(time.time() + 3600)
    for name, config, says in (
        (
            "oidc",
            {"id-token": good, "client-id": "x", "idp-issuer-url": "https://issuer.test"},
            f"Bearer {good}",
        ),
        ("gcp", {"cmd-path": str(script), "cmd-args": "now"}, "Bearer given"),
    ):
        async with served(nothing) as server:
            user = {"auth-provider": {"name": name, "config": config}}
            await (await cluster(server, tmp_path, user=user)).close()
            assert server.asked[0].headers["authorization"] == says
    async with served(nothing) as server:
        with pytest.raises(Refusal, match="auth-provider 'azure' gave no token"):
            await cluster(server, tmp_path, user={"auth-provider": {"name": "azure", "config": {}}})


async def test_impersonation(tmp_path: Path) -> None:
    async with served(nothing) as server:
        options = KubeOptions(as_user="anna", as_groups=("devs", "ops"))
        await (await cluster(server, tmp_path, options=options)).close()
        user = {"as": "bob", "as-groups": ["x"], "as-uid": "7", "as-user-extra": {"team": ["a"]}}
        await (await cluster(server, tmp_path, user=user)).close()
    first, second = (asked.headers for asked in server.asked)
    assert (first["impersonate-user"], first["impersonate-group"]) == (
        "anna",
        "ops",
    )  # the last of two headers
    assert second["impersonate-user"] == "bob"
    assert second["impersonate-uid"] == "7"
    assert second["impersonate-extra-team"] == "a"
    with pytest.raises(Refusal, match="--as-group without --as"):
        await cluster(server, tmp_path, options=KubeOptions(as_groups=("x",)))


# --- the way there --------------------------------------------------------------------------------------------------


async def test_a_proxy_of_the_environment_is_asked_for_a_tunnel(tmp_path: Path) -> None:
    async with served(nothing) as server, proxy() as between:
        # A name, since kubectl asks no proxy for what is on this machine.
        environ = {"http_proxy": f"http://anna:se%20cret@127.0.0.1:{between.port}"}
        one = await cluster(server, tmp_path, environ, server=f"http://api.test:{server.port}")
        assert one.version == "v1.99"
        await one.close()
        assert between.heads[0].startswith(f"CONNECT api.test:{server.port} HTTP/1.1\r\n")
        assert "Proxy-Authorization: Basic YW5uYTpzZSBjcmV0\r\n" in between.heads[0]
        environ["NO_PROXY"] = ".test"
        with pytest.raises(Refusal, match=r"api\.test.* its name is not known"):
            await cluster(server, tmp_path, environ, server=f"http://api.test:{server.port}")
        assert len(between.heads) == 1


async def test_the_kubeconfigs_proxy_and_what_it_refuses(tmp_path: Path) -> None:
    async with served(nothing) as server, proxy() as between, proxy(b"HTTP/1.1 407 who?\r\n\r\n") as stubborn:
        through = {"proxy-url": f"http://127.0.0.1:{between.port}"}
        await (await cluster(server, tmp_path, **through)).close()
        assert len(between.heads) == 1
        with pytest.raises(Refusal, match="answered '407 who\\?'"):
            await cluster(server, tmp_path, **{"proxy-url": f"http://x:y@127.0.0.1:{stubborn.port}"})


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
async def test_a_socks_proxy_looks_names_up_itself(tmp_path: Path, scheme: str) -> None:
    async with served(nothing) as server, socks() as between:
        through = {
            "proxy-url": f"{scheme}://127.0.0.1:{between.port}",
            "server": f"http://api.test:{server.port}",
        }
        await (await cluster(server, tmp_path, **through)).close()
        assert between.heads == [f"api.test:{server.port}"]


@pytest.mark.parametrize("url", ["ftp://x", "socks4://x", "http://"])
async def test_no_proxy_that_we_know(tmp_path: Path, url: str) -> None:
    with pytest.raises(Refusal, match="is no proxy that can be used"):
        await cluster(Served(1), tmp_path, **{"proxy-url": url})


async def test_tls_with_the_clusters_own_authority(tmp_path: Path) -> None:
    """Its name, a name that tls-server-name gives, a client's certificate, and a proxy that speaks TLS itself."""
    authority, clients = trustme.CA(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("api.test").configure_cert(context)
    clients.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    anna = clients.issue_cert("anna@test")
    (tmp_path / "anna.pem").write_bytes(anna.cert_chain_pems[0].bytes())
    (tmp_path / "anna.key").write_bytes(anna.private_key_pem.bytes())
    (tmp_path / "ca.pem").write_bytes(authority.cert_pem.bytes())
    user = {"client-certificate": "anna.pem", "client-key": "anna.key"}
    secure = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(secure)
    async with served(nothing, context) as server, proxy() as between:
        said = {"server": f"https://127.0.0.1:{server.port}", "certificate-authority": "ca.pem", "user": user}
        one = await cluster(server, tmp_path, **said, **{"tls-server-name": "api.test"})
        assert one.version == "v1.99"
        await one.close()
        through = {"tls-server-name": "api.test", "proxy-url": f"http://127.0.0.1:{between.port}"}
        one = await cluster(server, tmp_path, **said, **through)
        await one.close()
        assert len(between.heads) == 1
        with pytest.raises(Refusal, match=r"is not to be trusted: .*127\.0\.0\.1") as refused:
            await cluster(server, tmp_path, **said)
        assert "tls-server-name" in refused.value.next_step
        with pytest.raises(Refusal, match="not to be trusted"):
            await cluster(server, tmp_path, **(said | {"certificate-authority": None}))
        del said["certificate-authority"]
        await (await cluster(server, tmp_path, **said, **{"insecure-skip-tls-verify": True})).close()
        with pytest.raises(Refusal, match=r"cannot be reached: (TLS|the connection was closed)"):
            await cluster(server, tmp_path, **(said | {"user": {}}), **{"insecure-skip-tls-verify": True})


@dataclass(frozen=True, slots=True)
class Secured:
    """An API server and a proxy, both with TLS, of different authorities; ``said`` is the kubeconfig's cluster."""

    server: Served
    between: Proxied
    said: dict[str, Any]
    proxys: Path


@asynccontextmanager
async def secured(
    folder: Path, handle: Handle = nothing, *, authority_of: str = "server"
) -> AsyncIterator[Secured]:
    """The server's name is api.test, which the proxy knows alone. ``authority_of``: whose the kubeconfig has."""
    authorities = {"server": trustme.CA(), "proxy": trustme.CA()}
    servers, proxys = (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) for _ in range(2))
    authorities["server"].issue_cert("api.test").configure_cert(servers)
    authorities["proxy"].issue_cert("127.0.0.1").configure_cert(proxys)
    (folder / "ca.pem").write_bytes(authorities[authority_of].cert_pem.bytes())
    (folder / "proxys.pem").write_bytes(authorities["proxy"].cert_pem.bytes())
    async with served(handle, servers) as server, proxy(tls=proxys) as between:
        said = {"server": f"https://api.test:{server.port}", "certificate-authority": "ca.pem"}
        yield Secured(server, between, said, folder / "proxys.pem")


async def watch_through(there: Secured, folder: Path, environ: dict[str, str], **said: Any) -> None:
    """A call, and a watch whose answer comes in pieces: TLS inside of TLS both ways."""
    one = await cluster(there.server, folder, environ, **(there.said | said))
    seen = [change async for change in one.watch("/api/v1/pods", "7")]
    assert [kind for kind, _ in seen] == ["ADDED"] * 3
    assert all(item["payload"] == "x" * 100_000 for _, item in seen)
    await one.close()
    assert {head.splitlines()[0] for head in there.between.heads} == {
        f"CONNECT api.test:{there.server.port} HTTP/1.1"
    }


async def three_large(asked: Asked) -> None:
    """Then the watch is over, for good."""
    if asked.path == "/api/v1/pods" and "resourceVersion=7" in asked.target:
        await asked.begin(200)
        for number in range(3):
            one = item("p", 8 + number) | {"payload": "x" * 100_000}
            await asked.say({"type": "ADDED", "object": one})
        await asked.say({"type": "ERROR", "object": status(410, "Expired", "too old")})
        await asked.end()
    else:
        await nothing(asked)


@pytest.mark.parametrize("by", ["HTTPS_PROXY", "proxy-url"])
async def test_a_proxy_that_speaks_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    """Its authority is this machine's, the server's the kubeconfig's."""
    async with secured(tmp_path, three_large) as there:
        monkeypatch.setenv("SSL_CERT_FILE", str(there.proxys))
        url = f"https://127.0.0.1:{there.between.port}"
        environ, said = ({by: url}, {}) if by == "HTTPS_PROXY" else ({}, {by: url})
        with pytest.raises(KubeError, match="too old"):
            await watch_through(there, tmp_path, environ, **said)


async def test_a_proxy_of_the_clusters_authority(tmp_path: Path) -> None:
    """As kubectl has it. It does not make the server's own certificate good."""
    async with secured(tmp_path, authority_of="proxy") as there:
        url = f"https://127.0.0.1:{there.between.port}"
        with pytest.raises(Refusal, match=r"certificate of https://api\.test.* is not to be trusted"):
            await cluster(there.server, tmp_path, {"HTTPS_PROXY": url}, **there.said)
        assert len(there.between.heads) == 1
        assert not there.server.asked


async def test_a_proxy_that_is_not_to_be_trusted_is_told_nothing(tmp_path: Path) -> None:
    async with secured(tmp_path) as there:
        url = f"https://anna:secret@127.0.0.1:{there.between.port}"
        with pytest.raises(
            Refusal, match=r"certificate of the proxy https://127\.0\.0\.1:\d+ is not"
        ) as refused:
            await cluster(there.server, tmp_path, {"HTTPS_PROXY": url}, **there.said)
        assert "SSL_CERT_FILE" in refused.value.next_step
        assert "secret" not in str(refused.value)
        assert not there.between.heads


async def test_a_proxy_that_does_not_speak_tls_after_all(tmp_path: Path) -> None:
    async with secured(tmp_path) as there, served(nothing) as plain:
        url = f"https://127.0.0.1:{plain.port}"
        with pytest.raises(Refusal, match=r"through the proxy https://127.*cannot be reached"):
            await cluster(there.server, tmp_path, {"HTTPS_PROXY": url}, **there.said)


async def test_nobody_there(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(Refusal) as refused:
        await cluster(Served(port), tmp_path)
    assert f"http://127.0.0.1:{port} cannot be reached: Connection refused" in refused.value.what
    assert "VPN" in refused.value.next_step


async def test_something_else_answers(tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"SSH-2.0-x\r\n")
        writer.close()
        await writer.wait_closed()
        closed.set()

    closed = asyncio.Event()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    with pytest.raises(Refusal, match="cannot be reached: it does not speak HTTP"):
        await cluster(Served(server.sockets[0].getsockname()[1]), tmp_path)
    server.close()
    await closed.wait()


# --- refusals -------------------------------------------------------------------------------------------------------


def test_what_an_answer_means() -> None:
    path = "/api/v1/namespaces/shop/pods?limit=500"
    no = of_answer("GET", path, 403, json.dumps(status(403, "Forbidden", 'User "anna" cannot')).encode())
    assert no.forbidden
    assert str(no) == 'you may not list pods in namespace shop: User "anna" cannot'
    assert "kubectl auth can-i list pods -n shop" in no.next_step
    assert str(of_answer("GET", "/x", 502, b"<html>no</html>")) == "the API server answered 502 to: GET /x"
    assert str(of_answer("GET", "/x", 502, b"upstream is away\nsorry")) == "upstream is away"


def test_requests_as_rbac_names_them() -> None:
    shop = "/api/v1/namespaces/shop"
    assert described("GET", f"{shop}/pods") == "list pods in namespace shop"
    assert described("GET", f"{shop}/pods?watch=1") == "watch pods in namespace shop"
    assert described("DELETE", f"{shop}/pods/p") == "delete pods in namespace shop"
    assert (
        described("GET", f"{shop}/pods/p/portforward?ports=1") == "create pods/portforward in namespace shop"
    )
    assert described("GET", f"{shop}/pods/p/log") == "get pods/log in namespace shop"
    assert described("GET", "/api/v1/namespaces/shop") == "get namespaces"
    assert described("POST", "/apis/batch/v1/namespaces/a/jobs") == "create jobs.batch in namespace a"
    assert (
        described("PATCH", "/apis/apps/v1/namespaces/a/deployments/d")
        == "patch deployments.apps in namespace a"
    )
    assert described("GET", "/version") == "GET /version"


# --- watches --------------------------------------------------------------------------------------------------------


def item(name: str, version: int) -> dict[str, Any]:
    return {"metadata": {"name": name, "resourceVersion": str(version)}}


async def test_a_watch_goes_on_where_it_was_cut(tmp_path: Path) -> None:
    """In the middle of an event, after a bookmark, by a server that is starting; then it is too old."""
    rounds = 0

    async def handle(asked: Asked) -> None:
        nonlocal rounds
        rounds += 1
        match rounds:
            case 1:
                assert "resourceVersion=5" in asked.target
                await asked.begin(200)
                await asked.say({"type": "ADDED", "object": item("a", 6)})
                await asked.say('{"type": "ADDED", "object": {"metad')
                asked.drop()
            case 2:
                assert "resourceVersion=6" in asked.target
                await asked.begin(200)
                await asked.say({"type": "MODIFIED", "object": item("a", 7)})
                await asked.say({"type": "BOOKMARK", "object": item("", 99)})
                await asked.end()
            case 3:
                await asked.respond(503, "starting")
            case 4:
                assert "resourceVersion=99" in asked.target
                await asked.begin(200)
                await asked.say({"type": "DELETED", "object": item("a", 100)})
                await asked.say(
                    {"type": "ERROR", "object": status(410, "Expired", "too old resource version")}
                )
                await asked.end()

    async with served(handle) as server:
        one = await cluster(server, tmp_path)
        events = one.watch("/api/v1/pods", "5", labelSelector="a=b")
        seen = [
            (kind, found["metadata"]["resourceVersion"])
            for kind, found in [await anext(events) for _ in range(3)]
        ]
        with pytest.raises(KubeError) as raised:
            await anext(events)
        assert seen == [("ADDED", "6"), ("MODIFIED", "7"), ("DELETED", "100")]
        assert (raised.value.status, raised.value.reason) == (410, "Expired")
        assert "labelSelector=a%3Db" in server.asked[-1].target
        await one.close()


async def test_a_watch_answered_with_410_is_over(tmp_path: Path) -> None:
    async def handle(asked: Asked) -> None:
        await asked.respond(410, status(410, "Gone", "too old"))

    async with served(handle) as server:
        one = await cluster(server, tmp_path)
        with pytest.raises(KubeError) as raised:
            await anext(one.watch("/api/v1/pods", "5"))
        assert raised.value.status == 410
        await one.close()


async def test_a_watch_that_is_closed_ends_at_once_and_its_connection_too(tmp_path: Path) -> None:
    begun, over = asyncio.Event(), asyncio.Event()

    async def handle(asked: Asked) -> None:
        await asked.begin(200)
        begun.set()
        try:
            while True:
                await asked.say("\n")
                await asyncio.sleep(0.01)
        except OSError:
            over.set()

    async with served(handle) as server:
        one = await cluster(server, tmp_path)

        async def watching() -> None:
            async with aclosing(one.watch("/api/v1/pods", "1")) as events:
                async for _ in events:
                    pass

        task = asyncio.create_task(watching())
        await begun.wait()
        before = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - before < 0.5
        await asyncio.wait_for(over.wait(), 5)
        await one.close()


async def test_watches_of_a_cluster_that_is_closed_end(tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def handle(asked: Asked) -> None:
        await asked.begin(200)
        await asked.say("\n")
        begun.set()
        await asyncio.sleep(60)

    async with served(handle) as server:
        one = await cluster(server, tmp_path)
        watching = asyncio.create_task(anext(one.watch("/api/v1/pods", "1")))
        await begun.wait()
        await one.close()
        with pytest.raises(KubeError, match="asked no more"):
            await asyncio.wait_for(watching, 5)
        with pytest.raises(KubeError, match="asked no more"):
            await one.get("/version")


async def test_events_in_any_pieces(tmp_path: Path) -> None:
    whole = "".join(json.dumps({"type": "ADDED", "object": item(f"pod-{n}", n)}) + "\n" for n in range(40))

    async def handle(asked: Asked) -> None:
        await asked.begin(200)
        for at in range(0, len(whole), 7):
            await asked.say(whole[at : at + 7])
        await asyncio.sleep(60)

    async with served(handle) as server:
        one = await cluster(server, tmp_path)
        names = []
        async with aclosing(one.watch("/api/v1/pods", "1")) as events:
            async for _, found in events:
                names.append(found["metadata"]["name"])
                if len(names) == 40:
                    break
        assert names == [f"pod-{n}" for n in range(40)]
        await one.close()
