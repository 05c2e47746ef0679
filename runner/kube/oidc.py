"""OpenID Connect tokens of a kubeconfig (`auth-provider: oidc`): used while good, else refreshed at their issuer.

As client-go has it (plugin/pkg/client/auth/oidc; OpenID Connect Core, 12; RFC 6749, 6). Not by the kubernetes package,
which trusts any issuer when the kubeconfig names no authority, goes on with the lapsed token when the issuer says no,
and does not write back what it got: an issuer that takes each refresh token once has then locked kubectl out.
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import quote_plus, urlencode, urlsplit

from runner.kube.credentials import Credential, Credentials
from runner.kube.errors import KubeError
from runner.kube.exchange import Exchange
from runner.kube.server import Server

log = logging.getLogger(__name__)

Json = dict[str, Any]

Keep = Callable[[Mapping[str, str]], Awaitable[None]]
"""Writes these keys of the auth-provider's config back to where it came from."""

FORM = ("Content-Type", "application/x-www-form-urlencoded")
LOG_IN = "log in again, as your cluster's users do, then try again"


class Oidc:
    """One user's. ``config`` is the auth-provider's."""

    def __init__(self, config: Mapping[str, Any], environ: Mapping[str, str], keep: Keep) -> None:
        self._config = {str(key): str(value) for key, value in config.items()}
        self._environ = environ
        self._keep = keep

    async def token(self, now: float, early: float, *, refused: bool) -> Credential:
        """Good for ``early`` seconds more at least. ``refused``: what there is was not accepted. KubeError."""
        token = self._config.get("id-token", "")
        if refused or not token or _until(token) - early <= now:
            token = await self._refreshed()
        return Credential(f"Bearer {token}", until=_until(token))

    async def _refreshed(self) -> str:
        if not self._config.get("refresh-token"):
            raise _no_token("the kubeconfig's id-token has lapsed, and there is no refresh-token with it")
        issuer = self._config.get("idp-issuer-url", "").rstrip("/")
        found = await self._discovered(f"{issuer}/.well-known/openid-configuration")
        endpoint = str(found.get("token_endpoint") or "")
        if not endpoint:
            raise _no_token(f"{issuer} does not say where its tokens are had")
        answer = await self._granted(endpoint)
        token = str(answer.get("id_token") or "")
        if not token:
            raise _no_token(f'{issuer} gave no id_token (was "openid" among the scopes of the log-in?)')
        changed = {"id-token": token}
        if refresh := str(answer.get("refresh_token") or ""):
            changed["refresh-token"] = refresh
        self._config |= changed
        await self._keep(changed)
        return token

    async def _discovered(self, url: str) -> Json:
        """OpenID Connect Discovery, 4."""
        status, found = await self._ask("GET", url, Credential(), b"")
        if status != 200 or not found:
            raise _no_token(f"{url} answered: {_complaint(found, status)}")
        return found

    async def _granted(self, url: str) -> Json:
        """The client's secret is shown in a header, then, as some want it, in the form (golang.org/x/oauth2,
        AuthStyleAutoDetect)."""
        client, secret = self._config.get("client-id", ""), self._config.get("client-secret", "")
        pair = base64.b64encode(f"{quote_plus(client)}:{quote_plus(secret)}".encode()).decode()
        form = {"grant_type": "refresh_token", "refresh_token": self._config["refresh-token"]}
        inside = form | {"client_id": client} | ({"client_secret": secret} if secret else {})
        said = ""
        for credential, body in ((Credential(f"Basic {pair}"), form), (Credential(), inside)):
            status, found = await self._ask("POST", url, credential, urlencode(body).encode())
            if status == 200 and found:
                return found
            said = _complaint(found, status)
            if found.get("error") == "invalid_grant":  # the client was known
                break
        raise _no_token(f"{url} answered: {said}")

    async def _ask(self, method: str, url: str, credential: Credential, body: bytes) -> tuple[int, Json]:
        """The status, and the answer where it is JSON's."""
        parts = urlsplit(url)
        keys = ("certificate-authority", "certificate-authority-data")
        trusted = {key: self._config[f"idp-{key}"] for key in keys if self._config.get(f"idp-{key}")}
        there = {"server": f"{parts.scheme}://{parts.netloc}"} | trusted
        try:
            exchange = Exchange(Server(there, Credentials({}, {}, "", self._environ), self._environ))
            try:
                target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
                headers = (
                    (FORM, ("Accept", "application/json")) if body else (("Accept", "application/json"),)
                )
                async with exchange.ask(method, target, credential, body, headers) as answer:
                    return answer.status, _object(await answer.read())
            finally:
                exchange.close()
        except KubeError as error:
            sentence = error.sentence.replace("the API server at", "the issuer", 1)
            raise _no_token(
                sentence, "idp-certificate-authority and idp-issuer-url say whom it trusts"
            ) from error


def _until(token: str) -> float:
    """Its `exp`; 0 where it has none, or is no token of this kind (RFC 7519)."""
    try:
        middle = token.split(".")[1]
        return float(json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))["exp"])
    except (IndexError, ValueError, KeyError, TypeError):
        return 0.0


def _object(octets: bytes) -> Json:
    try:
        found = json.loads(octets)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _complaint(found: Json, status: int) -> str:
    """RFC 6749, 5.2."""
    said = [str(found[key]) for key in ("error", "error_description") if found.get(key)]
    return ": ".join(said) or f"status {status}"


def _no_token(why: str, next_step: str = LOG_IN) -> KubeError:
    return KubeError(401, "Unauthorized", f"the auth-provider 'oidc' gave no token: {why}", next_step)
