"""OpenID Connect tokens that have lapsed, refreshed at an issuer of the test's own, with TLS, on loopback."""

from __future__ import annotations

import base64
import json
import os
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import trustme
import yaml

from runner.errors import Refusal
from runner.kube import written_back
from runner.kube.api import Cluster, KubeOptions, connect
from tests.runner.kube.served import Asked, Served, served, status

Json = dict[str, Any]

HOUR = 3600.0


def id_token(until: float, name: str = "") -> str:
    """As far as anybody on this side looks: three parts, the second with an end."""

    def part(value: Json) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return f"{part({'alg': 'none'})}.{part({'exp': int(until), 'name': name})}.c2ln"


@dataclass
class Issuer:
    """Takes each refresh token once. ``lasts``: seconds of the tokens it gives; ``wants``: how the client shows its
    secret; ``no``: what it answers instead, with 400."""

    server: Served
    path: str = "/realms/shop"
    lasts: float = HOUR
    wants: str = "header"
    no: Json = field(default_factory=dict)
    gave: list[str] = field(default_factory=list)
    good: str = "refresh-0"

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.server.port}{self.path}"

    async def answer(self, asked: Asked) -> None:
        if asked.path == f"{self.path}/.well-known/openid-configuration":
            await asked.respond(200, {"issuer": self.url, "token_endpoint": f"{self.url}/token?v=2"})
        elif asked.method == "POST" and asked.target == f"{self.path}/token?v=2":
            await self._token(asked, {key: value[0] for key, value in parse_qs(asked.body.decode()).items()})
        else:
            await asked.respond(404, "no")

    async def _token(self, asked: Asked, form: dict[str, str]) -> None:
        assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
        header = asked.headers.get("authorization", "")
        shown = header == f"Basic {base64.b64encode(b'cli:pass+%26word').decode()}"
        if self.wants == "form":
            shown = not header and (form.get("client_id"), form.get("client_secret")) == ("cli", "pass &word")
        if not shown:
            await asked.respond(401, {"error": "invalid_client"})
        elif self.no:
            await asked.respond(400, self.no)
        elif (form["grant_type"], form["refresh_token"]) != ("refresh_token", self.good):
            await asked.respond(400, {"error": "invalid_grant", "error_description": "it was used"})
        else:
            self.gave.append(id_token(time.time() + self.lasts, f"n{len(self.gave)}"))
            self.good = f"refresh-{len(self.gave)}"
            await asked.respond(200, {"id_token": self.gave[-1], "refresh_token": self.good})

    def config(self, **more: str) -> Json:
        return {
            "idp-issuer-url": self.url,
            "idp-certificate-authority": "issuer.pem",  # beside the kubeconfig
            "client-id": "cli",
            "client-secret": "pass &word",
            "id-token": id_token(time.time() - HOUR),
            "refresh-token": "refresh-0",
        } | more


@pytest.fixture
async def issuer(tmp_path: Path) -> AsyncIterator[Issuer]:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    (tmp_path / "issuer.pem").write_bytes(authority.cert_pem.bytes())
    made: list[Issuer] = []

    async def answer(asked: Asked) -> None:
        await made[0].answer(asked)

    async with served(answer, context) as server:
        made.append(Issuer(server))
        yield made[0]


class Accepting:
    """An API server that takes these tokens alone."""

    def __init__(self, *tokens: str) -> None:
        self.tokens = list(tokens)

    async def __call__(self, asked: Asked) -> None:
        if asked.headers.get("authorization", "").removeprefix("Bearer ") in self.tokens:
            await asked.respond(200, {"did": asked.path})
        else:
            await asked.respond(401, status(401, "Unauthorized", "Unauthorized"))


def written(folder: Path, server: Served, config: Json) -> Path:
    return Path(server.kubeconfig(folder, {"auth-provider": {"name": "oidc", "config": config}}))


async def connected(path: Path) -> Cluster:
    return await connect(KubeOptions(str(path)), {}, Path("/nonexistent"))


def kept(path: Path) -> Json:
    config: Json = yaml.safe_load(path.read_text())["users"][0]["user"]["auth-provider"]["config"]
    return config


async def test_one_that_is_good_is_not_refreshed(tmp_path: Path, issuer: Issuer) -> None:
    good = id_token(time.time() + HOUR)
    async with served(Accepting(good)) as server:
        path = written(tmp_path, server, issuer.config(**{"id-token": good}))
        before = path.read_bytes()
        one = await connected(path)
        assert await one.get("/x") == {"did": "/x"}
        await one.close()
        assert path.read_bytes() == before
    assert not issuer.server.asked


async def test_one_that_lapsed_is_refreshed_and_written_back(tmp_path: Path, issuer: Issuer) -> None:
    """An issuer that takes each refresh token once must not have locked out kubectl, nor the next run."""
    accepting = Accepting()
    async with served(accepting) as server:
        path = written(tmp_path, server, issuer.config())
        whole = yaml.safe_load(path.read_text())
        path.chmod(0o640)
        for _ in range(2):
            accepting.tokens = issuer.gave
            one = await connected(path)
            assert await one.get("/x") == {"did": "/x"}
            await one.close()
        assert len(issuer.gave) == 1
        new = {"id-token": issuer.gave[0], "refresh-token": "refresh-1"}
        assert kept(path) == issuer.config() | new | {"id-token": issuer.gave[0]}
        assert path.stat().st_mode & 0o777 == 0o640
        whole["users"][0]["user"]["auth-provider"]["config"] |= new
        assert yaml.safe_load(path.read_text()) == whole
        assert sorted(os.listdir(tmp_path)) == ["issuer.pem", "kubeconfig"]


async def test_one_that_lapses_while_a_session_runs(tmp_path: Path, issuer: Issuer) -> None:
    """Before it does, by as long as a request may take."""
    issuer.lasts = 5
    accepting = Accepting()
    accepting.tokens = issuer.gave
    async with served(accepting) as server:
        one = await connected(written(tmp_path, server, issuer.config()))
        for _ in range(3):
            assert await one.get("/x") == {"did": "/x"}
        await one.close()
    assert len(issuer.gave) == 4


async def test_one_that_the_server_refuses_is_refreshed_once(tmp_path: Path, issuer: Issuer) -> None:
    """The issuer took it back, or the clocks differ."""
    accepting = Accepting()
    accepting.tokens = issuer.gave
    async with served(accepting) as server:
        refused = issuer.config(**{"id-token": id_token(time.time() + HOUR)})
        one = await connected(written(tmp_path, server, refused))
        assert await one.get("/x") == {"did": "/x"}
        assert len(issuer.gave) == 1
        accepting.tokens = ["none"]
        with pytest.raises(Exception, match="Unauthorized"):
            await one.get("/x")
        assert len(issuer.gave) == 2
        await one.close()


async def test_a_client_that_shows_its_secret_in_the_form(tmp_path: Path, issuer: Issuer) -> None:
    issuer.wants = "form"
    accepting = Accepting()
    accepting.tokens = issuer.gave
    async with served(accepting) as server:
        await (await connected(written(tmp_path, server, issuer.config()))).close()
    assert len(issuer.gave) == 1


async def refusal(tmp_path: Path, config: Json) -> Refusal:
    async with served(Accepting()) as server:
        with pytest.raises(Refusal, match="the auth-provider 'oidc' gave no token: ") as refused:
            await connected(written(tmp_path, server, config))
        assert not server.asked
    assert "refresh-0" not in str(refused.value)
    return refused.value


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"refresh-token": ""}, "has lapsed, and there is no refresh-token with it"),
        ({"refresh-token": "stale"}, "/token?v=2 answered: invalid_grant: it was used"),
        ({"client-secret": "wrong"}, "answered: invalid_client"),
        ({"idp-issuer-url": "https://127.0.0.1:1"}, "the issuer https://127.0.0.1:1 cannot be reached"),
    ],
)
async def test_no_token(tmp_path: Path, issuer: Issuer, change: dict[str, str], said: str) -> None:
    refused = await refusal(tmp_path, issuer.config(**change))
    assert said in refused.what
    assert issuer.gave == []


async def test_an_issuer_that_gives_something_else(tmp_path: Path, issuer: Issuer) -> None:
    issuer.path = "/elsewhere"
    config = issuer.config(**{"idp-issuer-url": issuer.url.replace("elsewhere", "realms")})
    assert "answered: status 404" in (await refusal(tmp_path, config)).what


@pytest.mark.parametrize("named", ["another's", "nobody's"])
async def test_an_issuer_that_is_not_to_be_trusted_is_told_nothing(
    tmp_path: Path, issuer: Issuer, named: str
) -> None:
    config = issuer.config()
    if named == "another's":
        (tmp_path / "issuer.pem").write_bytes(trustme.CA().cert_pem.bytes())
    else:
        del config["idp-certificate-authority"]
    refused = await refusal(tmp_path, config)
    assert "is not to be trusted" in refused.what
    assert "idp-certificate-authority" in refused.next_step
    assert not issuer.server.asked


# --- written back -----------------------------------------------------------------------------------------------------


async def test_it_is_written_where_the_user_came_from(tmp_path: Path, issuer: Issuer) -> None:
    """Of KUBECONFIG's files, through a symbolic link; others are as they were."""
    accepting = Accepting()
    accepting.tokens = issuer.gave
    async with served(accepting) as server:
        path = written(tmp_path, server, issuer.config())
        (tmp_path / "link").symlink_to(path)
        (tmp_path / "first").write_text("clusters: []  # a comment\n")
        environ = {"KUBECONFIG": f"{tmp_path / 'first'}:{tmp_path / 'link'}"}
        await (await connect(KubeOptions(), environ, Path("/nonexistent"))).close()
        assert kept(path)["refresh-token"] == "refresh-1"
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "first").read_text() == "clusters: []  # a comment\n"


async def test_a_file_that_somebody_writes_is_left_alone(
    tmp_path: Path, issuer: Issuer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(written_back, "LOCKED_WITHIN", 0.0)
    accepting = Accepting()
    accepting.tokens = issuer.gave
    async with served(accepting) as server:
        path = written(tmp_path, server, issuer.config())
        os.close(os.open(f"{path}.lock", os.O_CREAT | os.O_EXCL))
        await (await connected(path)).close()
        assert kept(path)["refresh-token"] == "refresh-0"
        assert "kubeconfig.lock" in os.listdir(tmp_path)
    assert "does not have the new tokens of me" in caplog.text
    assert "refresh-1" not in caplog.text
