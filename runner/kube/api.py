"""One API server as one user: JSON in, JSON out. What Kubernetes' objects mean is for others to know."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from runner.errors import Refusal
from runner.kube.credentials import Credential, Credentials
from runner.kube.errors import KubeError as KubeError
from runner.kube.errors import of_answer
from runner.kube.exchange import Answer, Exchange
from runner.kube.kubeconfig import Chosen, choose
from runner.kube.oidc import Oidc
from runner.kube.server import Server
from runner.kube.watching import watched
from runner.kube.written_back import write_back
from wire.record import record

log = logging.getLogger(__name__)

Json = dict[str, Any]
Items = list[Json]  # Cluster.list hides the name

CALL_TIME = 60.0
"""Seconds for one call with all its retries: the API server's own bound for what is no watch."""
PAGE = 500
"""Objects in one part of a list, as kubectl asks for."""
RETRIES = 5
"""Of an answer that says Retry-After (429, 503): the server is busy, or starting."""

_PATCHES = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "json": "application/json-patch+json",
    "apply": "application/apply-patch+yaml",  # JSON is YAML
}


@record
class KubeOptions:
    """kubectl's options of the same meaning. Empty means: not given."""

    kubeconfig: str = ""
    context: str = ""
    namespace: str = ""
    as_user: str = ""
    as_groups: tuple[str, ...] = ()


class Cluster:
    """Paths are the API's own ("/api/v1/namespaces/shop/pods"), queries as well. Every call: KubeError, whose
    status is 0 when the server could not be reached."""

    def __init__(self, server: Server, context: str, namespace: str) -> None:
        self.context = context
        self.namespace = namespace
        self.server = server.url
        self.version = ""
        """As of /version: "v1.35.4"."""
        self.way = server
        """For streams, which are not calls."""
        self._exchange = Exchange(server)

    async def get(self, path: str, **query: str) -> Json:
        return _json(await self._call("GET", path, query))

    async def list(self, path: str, **query: str) -> tuple[Items, str]:
        """All items, and the resourceVersion to watch from."""
        items: Items = []
        part = {"limit": str(PAGE)} | query
        while True:
            try:
                page = _json(await self._call("GET", path, part))
            except KubeError as error:
                if error.status != 410 or "continue" not in part:
                    raise
                items, part = [], dict(query)  # the rest of the list is too old by now: all of it at once
                continue
            items += page.get("items") or ()
            meta = page.get("metadata") or {}
            if not (more := meta.get("continue")):
                return items, str(meta.get("resourceVersion") or "")
            part = part | {"continue": str(more)}

    async def create(self, path: str, body: Json, **query: str) -> Json:
        return _json(await self._call("POST", path, query, body))

    async def patch(self, path: str, body: Json | Items, kind: str = "merge", **query: str) -> Json:
        """``kind``: merge, strategic, json, or apply (server-side; give fieldManager)."""
        return _json(await self._call("PATCH", path, query, body, _PATCHES[kind]))

    async def delete(self, path: str, **query: str) -> Json | None:
        """What the server answered; None: it was not there."""
        try:
            return _json(await self._call("DELETE", path, query))
        except KubeError as error:
            if error.missing:
                return None
            raise

    async def text(self, path: str, **query: str) -> str:
        """For what is no JSON: a container's log."""
        return (await self._call("GET", path, query)).decode(errors="replace")

    def watch(self, path: str, version: str, **query: str) -> AsyncGenerator[tuple[str, Json], None]:
        """(ADDED | MODIFIED | DELETED, object) from ``version`` on, for as long as somebody reads: after a connection
        that ended, or a server that was restarted, it goes on where it was. KubeError 410: too old, list again.
        Close it (``contextlib.aclosing``) to end it at once."""

        def ask(more: Mapping[str, str]) -> contextlib.AbstractAsyncContextManager[Answer]:
            return self._answer("GET", path, {**query, **more})

        return watched(ask, version, path)

    async def allowed(
        self,
        verb: str,
        resource: str,
        *,
        namespace: str,
        group: str = "",
        subresource: str = "",
        name: str = "",
    ) -> bool:
        """Whether this user may (SelfSubjectAccessReview)."""
        wanted = {"verb": verb, "resource": resource, "namespace": namespace, "group": group}
        wanted |= {"subresource": subresource, "name": name}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {key: value for key, value in wanted.items() if value}},
        }
        told = await self.create("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
        return bool(told.get("status", {}).get("allowed"))

    async def whoami(self) -> str:
        """The user's name to this server (SelfSubjectReview, Kubernetes 1.28); "" where an older one cannot say."""
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        try:
            told = await self.create("/apis/authentication.k8s.io/v1/selfsubjectreviews", review)
        except KubeError as error:
            if error.missing:
                return ""
            raise
        return str(told.get("status", {}).get("userInfo", {}).get("username") or "")

    async def date(self) -> datetime | None:
        """What time it is for the server, to the second (the Date header: RFC 9110, 6.6.1); None if it does not say."""
        async with self._answer("GET", "/version", {}) as answer:
            await answer.read()
        try:
            return parsedate_to_datetime(answer.headers["date"])
        except (KeyError, ValueError):
            return None

    async def close(self) -> None:
        """Watches end with a KubeError; streams end, with their last words if those leave soon."""
        self._exchange.close()
        await self.way.end_streams()

    async def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Json | Items | None = None,
        kind: str = "application/json",
    ) -> bytes:
        started = time.monotonic()
        try:
            async with asyncio.timeout(CALL_TIME), self._answer(method, path, query, body, kind) as answer:
                octets = await answer.read()
        except TimeoutError:
            raise self.way.unreachable(f"no answer within {CALL_TIME:.0f} s") from None
        log.debug("%s %s: %d, %.0f ms", method, path, answer.status, (time.monotonic() - started) * 1e3)
        return octets

    @contextlib.asynccontextmanager
    async def _answer(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Json | Items | None = None,
        kind: str = "application/json",
    ) -> AsyncIterator[Answer]:
        """An answer of 2xx. After a credential that is not accepted, and by a busy server, nothing was done: both are
        asked again."""
        target = f"{path}?{urlencode(query)}" if query else path
        octets = b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
        headers: tuple[tuple[str, str], ...] = (("Accept", "application/json, */*"),)
        if body is not None:
            headers += (("Content-Type", kind),)
        refused: Credential | None = None
        tries = 0
        while True:
            credential = await self.way.credentials.current(refused=refused)
            async with self._exchange.ask(method, target, credential, octets, headers) as answer:
                if 200 <= answer.status < 300:
                    yield answer
                    return
                told = await answer.read()
            tries += 1
            if answer.status == 401 and refused is None and self.way.credentials.renewable:
                refused = credential
            elif answer.status in (429, 503) and "retry-after" in answer.headers and tries <= RETRIES:
                await asyncio.sleep(_pause(answer.headers["retry-after"]))
            else:
                raise of_answer(method, target, answer.status, told)


def _provider(chosen: Chosen, environ: Mapping[str, str]) -> Oidc | None:
    provider = chosen.user.get("auth-provider") or {}
    if provider.get("name") != "oidc" or not provider.get("config"):
        return None
    return Oidc(provider["config"], environ, partial(write_back, chosen.user_file, chosen.user_name))


async def connect(
    options: KubeOptions, environ: Mapping[str, str], home: Path, *, attended: bool = False
) -> Cluster:
    """The cluster that kubectl would speak to, when it has answered. ``attended``: a credential plugin may ask on the
    terminal, which is the app's from then on. Refusal with the next step."""
    chosen = await asyncio.to_thread(
        choose, environ, home, kubeconfig=options.kubeconfig, context=options.context
    )
    try:
        credentials = Credentials(
            chosen.user,
            chosen.cluster,
            chosen.folder,
            environ,
            attended=attended,
            provider=_provider(chosen, environ),
        )
        server = Server(chosen.cluster, credentials, environ, _impersonated(options, chosen))
        cluster = Cluster(server, chosen.context, options.namespace or chosen.namespace)
    except KubeError as error:
        raise _no_cluster(error, chosen) from error
    try:
        cluster.version = str((await cluster.get("/version")).get("gitVersion") or "")
    except BaseException as error:
        await cluster.close()
        if isinstance(error, KubeError):
            raise _no_cluster(error, chosen) from error
        raise
    credentials.unattended()
    log.debug("%s: %s, %s", chosen.context, server.url, cluster.version)
    return cluster


def _impersonated(options: KubeOptions, chosen: Chosen) -> tuple[tuple[str, str], ...]:
    """kubernetes.io/docs/reference/access-authn-authz/authentication, "User impersonation"; --as beats the file's."""
    user = options.as_user or str(chosen.user.get("as") or "")
    groups = options.as_groups or tuple(chosen.user.get("as-groups") or ())
    if groups and not user:
        raise Refusal("--as-group without --as", "say whom to act as with --as USER")
    if not user:
        return ()
    headers = [("Impersonate-User", user), *(("Impersonate-Group", group) for group in groups)]
    if not options.as_user:
        if uid := chosen.user.get("as-uid"):
            headers.append(("Impersonate-Uid", str(uid)))
        for key, values in (chosen.user.get("as-user-extra") or {}).items():
            headers += [(f"Impersonate-Extra-{key}", str(value)) for value in values]
    return tuple(headers)


def _no_cluster(error: KubeError, chosen: Chosen) -> Refusal:
    files = ", ".join(chosen.files)
    return Refusal(f"context {chosen.context!r} of {files} cannot be used: {error.sentence}", error.next_step)


def _json(octets: bytes) -> Json:
    try:
        found = json.loads(octets)
    except ValueError:
        raise KubeError(
            0,
            "",
            "what answers is no API server: it sends no JSON",
            "check the server address of the kubeconfig",
        ) from None
    if not isinstance(found, dict):
        raise KubeError(0, "", "what answers is no API server", "check the server address of the kubeconfig")
    return found


def _pause(retry_after: str) -> float:
    """Seconds, as API servers say it (never as a date)."""
    return min(float(retry_after), 10.0) if retry_after.isdigit() else 1.0
