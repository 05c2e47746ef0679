"""Who the user is to the API server: a token or a certificate, read again or asked for again when it has lapsed.

Exec plugins as of kubernetes.io/docs/reference/access-authn-authz/authentication, "client-go credential plugins".
Tokens and keys pass through here and are never logged.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from runner.kube.errors import KubeError
from wire.record import record

log = logging.getLogger(__name__)

Json = dict[str, Any]

PLUGIN_TIME = 60.0
"""Seconds for a plugin that can ask nobody. One that may ask a person has ATTENDED_TIME."""
ATTENDED_TIME = 600.0
EARLY = 10.0
"""Seconds before its end from which a credential is not used any more: a request takes time too."""
REREAD = 60.0
"""Seconds after which a token file is read again: a pod's own token is replaced in place (client-go: 1 minute)."""


@record
class Credential:
    """What goes with a request. ``authorization`` is the header's value or "", the PEM texts are empty without a
    certificate; ``until`` is in seconds of time.time(), 0 for no end."""

    authorization: str = ""
    certificate: bytes = b""
    key: bytes = b""
    until: float = 0.0

    def __repr__(self) -> str:
        return f"Credential(until={self.until:.0f})"


class Provider(Protocol):
    """An auth-provider of ours (``runner.kube.oidc``)."""

    async def token(self, now: float, early: float, *, refused: bool) -> Credential:
        """Good for ``early`` seconds more at least; ``refused``: the last one was not accepted. KubeError."""


class Credentials:
    """One user of a kubeconfig. ``provider``: of its `auth-provider`, if we know that one ourselves."""

    def __init__(
        self,
        user: Json,
        cluster: Json,
        folder: str,
        environ: Mapping[str, str],
        *,
        attended: bool = False,
        provider: Provider | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._user = user
        self._cluster = cluster
        self._folder = folder
        self._environ = environ
        self._attended = attended
        self._provider = provider
        self._now = now
        self._kept: Credential | None = None
        self._one = asyncio.Lock()

    @property
    def renewable(self) -> bool:
        """Whether asking again may give another one."""
        return any(key in self._user for key in ("exec", "tokenFile", "auth-provider"))

    def unattended(self) -> None:
        """From now on the terminal is the app's: a plugin may ask nobody."""
        self._attended = False

    async def current(self, *, refused: Credential | None = None) -> Credential:
        """The credential to use now. ``refused``: the API server did not accept that one. KubeError with the plugin's
        own words where none can be had."""
        async with self._one:  # one plugin at a time, whoever asks
            kept = self._kept
            if kept is not None and kept is not refused and not self._lapsed(kept):
                return kept
            self._kept = await self._make(refused=kept is not None and kept is refused)
            return self._kept

    def _lapsed(self, credential: Credential) -> bool:
        return bool(credential.until) and self._now() >= credential.until - EARLY

    async def _make(self, *, refused: bool) -> Credential:
        user = self._user
        certificate = pem_of(user, "client-certificate")
        key = pem_of(user, "client-key")
        if path := user.get("tokenFile"):
            token, until = _read(path).decode().strip(), self._now() + REREAD + EARLY
            return Credential(f"Bearer {token}", certificate, key, until)
        if user.get("token"):
            return Credential(f"Bearer {user['token']}", certificate, key)
        if user.get("username"):
            pair = f"{user['username']}:{user.get('password') or ''}".encode()
            return Credential(f"Basic {base64.b64encode(pair).decode()}", certificate, key)
        if self._provider is not None:
            made = await self._provider.token(self._now(), EARLY, refused=refused)
            return Credential(
                made.authorization, certificate, key, made.until or self._now() + REREAD + EARLY
            )
        if "auth-provider" in user:
            return await asyncio.to_thread(self._from_provider)
        if "exec" not in user:
            return Credential("", certificate, key)
        made = await self._from_plugin(user["exec"])
        if made.certificate:
            return made
        return Credential(made.authorization, certificate, key, made.until)

    def _from_provider(self) -> Credential:
        """An older way (`auth-provider: gcp`), which the kubernetes package knows."""
        from kubernetes.client import Configuration
        from kubernetes.config import ConfigException, load_kube_config_from_dict

        one = {
            "current-context": "one",
            "contexts": [{"name": "one", "context": {"cluster": "one", "user": "one"}}],
            "clusters": [{"name": "one", "cluster": {"server": self._cluster["server"]}}],
            "users": [{"name": "one", "user": self._user}],
        }
        found = Configuration()
        try:
            load_kube_config_from_dict(one, client_configuration=found)  # type: ignore[no-untyped-call]
        except (ConfigException, OSError, ValueError, KeyError) as error:
            raise KubeError(
                401, "Unauthorized", f"the auth-provider gave no token: {error}", _LOG_IN
            ) from error
        token = found.api_key.get("BearerToken") or found.api_key.get("authorization") or ""
        if not token:
            name = self._user["auth-provider"].get("name", "")
            sentence = f"the auth-provider {name!r} gave no token"
            raise KubeError(401, "Unauthorized", sentence, "use an exec credential plugin instead")
        return Credential(token, until=self._now() + REREAD + EARLY)

    async def _from_plugin(self, plugin: Json) -> Credential:
        version = str(plugin.get("apiVersion") or "")
        attended = self._attended and plugin.get("interactiveMode", "IfAvailable") != "Never"
        if plugin.get("interactiveMode") == "Always" and not attended:
            raise _no_credential(plugin, "it wants to ask you something, and there is no terminal for it")
        output = await self._run(plugin, _exec_info(plugin, version, self._cluster, attended), attended)
        return _of_output(plugin, version, output)

    async def _run(self, plugin: Json, info: Json, attended: bool) -> bytes:
        """Its stdout. Unattended, its stderr is kept for the sentence; attended, it goes to the terminal."""
        command = str(plugin.get("command") or "")
        if os.sep in command:
            command = os.path.join(self._folder, command)
        extra = {str(pair["name"]): str(pair["value"]) for pair in plugin.get("env") or ()}
        environ = {**self._environ, **extra, "KUBERNETES_EXEC_INFO": json.dumps(info)}
        pipe, none = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        try:
            process = await asyncio.create_subprocess_exec(
                command,
                *[str(one) for one in plugin.get("args") or ()],
                stdin=None if attended else none,
                stdout=pipe,
                stderr=None if attended else pipe,
                env=environ,
            )
        except OSError as error:
            hint = str(plugin.get("installHint") or "install it, or put it into PATH").strip()
            raise _no_credential(plugin, error.strerror or str(error), hint) from error
        within = ATTENDED_TIME if attended else PLUGIN_TIME
        try:
            async with asyncio.timeout(within):
                output, complaint = await process.communicate()
        except TimeoutError:
            raise _no_credential(plugin, f"it did not end within {within:.0f} s") from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if process.returncode:
            said = (complaint or b"").decode(errors="replace").strip()
            raise _no_credential(
                plugin, f"it ended with {process.returncode}" + (f":\n{_last(said)}" if said else "")
            )
        return output


_MEND = "mend the kubeconfig"
_LOG_IN = "log in again, as your cluster's users do, then try again"


def _exec_info(plugin: Json, version: str, cluster: Json, attended: bool) -> Json:
    spec: Json = {"interactive": attended}
    if plugin.get("provideClusterInfo"):
        kept = ("server", "tls-server-name", "insecure-skip-tls-verify", "proxy-url", "disable-compression")
        told = {key: cluster[key] for key in kept if key in cluster}
        if authority := pem_of(cluster, "certificate-authority"):
            told["certificate-authority-data"] = base64.b64encode(authority).decode()
        for extension in cluster.get("extensions") or ():
            if extension.get("name") == "client.authentication.k8s.io/exec":
                told["config"] = extension.get("extension")
        spec["cluster"] = told
    return {"apiVersion": version, "kind": "ExecCredential", "spec": spec}


def _of_output(plugin: Json, version: str, output: bytes) -> Credential:
    try:
        told = json.loads(output)
        status = told["status"]
        if told["apiVersion"] != version:
            raise _no_credential(plugin, f"it answers as {told['apiVersion']}, the kubeconfig says {version}")
        until = _seconds(status["expirationTimestamp"]) if status.get("expirationTimestamp") else 0.0
        token = status.get("token") or ""
        certificate = str(status.get("clientCertificateData") or "").encode()
        key = str(status.get("clientKeyData") or "").encode()
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _no_credential(plugin, "what it printed is no ExecCredential") from None
    if not token and not (certificate and key):
        raise _no_credential(plugin, "it gave neither a token nor a certificate with its key")
    return Credential(f"Bearer {token}" if token else "", certificate, key, until)


def _seconds(timestamp: str) -> float:
    """RFC 3339, as Go writes it: with any number of decimals."""
    whole, dot, rest = timestamp.partition(".")
    if dot:
        decimals = len(rest) - len(rest.lstrip("0123456789"))
        timestamp = whole + rest[decimals:]
    found = datetime.fromisoformat(timestamp)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _no_credential(plugin: Json, why: str, next_step: str = _LOG_IN) -> KubeError:
    command = " ".join(
        [str(plugin.get("command") or ""), *[str(one) for one in plugin.get("args") or ()][:2]]
    )
    return KubeError(
        401, "Unauthorized", f"the credential plugin `{command}` gave no credential: {why}", next_step
    )


def _last(text: str, lines: int = 8) -> str:
    return "\n".join(text.splitlines()[-lines:])


def pem_of(entry: Json, key: str) -> bytes:
    """What KEY-data holds, else what the file KEY does; the first wins, as in kubectl."""
    if data := entry.get(f"{key}-data"):
        try:
            return base64.b64decode(data)
        except ValueError as error:
            raise KubeError(0, "", f"{key}-data of the kubeconfig is no base64", _MEND) from error
    return _read(entry[key]) if entry.get(key) else b""


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise KubeError(0, "", f"{path}, which the kubeconfig names: {error.strerror}", _MEND) from error
