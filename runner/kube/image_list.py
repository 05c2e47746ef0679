"""One reference for several kinds of machine: a manifest list, put into the registry beside the images it names.

Engines push images and have no call for lists, so this speaks to the registry itself (OCI Distribution Specification
1.1, "Push" and its token authentication), with the credentials that the engine used. Blocking calls.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import requests

from runner.engine_sdk import Account
from runner.errors import Refusal
from runner.kube.agent_images import Name

LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
INDEX = "application/vnd.oci.image.index.v1+json"

ACCEPTED = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
)
"""What an engine pushes, by its age and image store."""

PATIENCE = 30.0
"""Seconds for each answer."""

HUB = "registry-1.docker.io"
"""Where docker.io's registry is."""


class Registry:
    """One registry, as one account, for one repository."""

    def __init__(self, to: Name, account: Account | None) -> None:
        host = HUB if to.registry == "docker.io" else to.registry
        # As engines do: loopback may be without TLS.
        loopback = host.startswith("127.") or host.split(":")[0] == "localhost"
        self._url = f"{'http' if loopback else 'https'}://{host}/v2/{to.path}/manifests/"
        self._to = to
        self._account = account
        self._session = requests.Session()
        self._authorization = ""

    def close(self) -> None:
        self._session.close()

    def kind_and_size(self, digest: str) -> tuple[str, int]:
        """Of a manifest that was pushed: its media type, and its octets."""
        answer = self._ask("GET", digest, headers={"Accept": ", ".join(ACCEPTED)})
        return answer.headers["Content-Type"].partition(";")[0], len(answer.content)

    def put(self, content: bytes, kind: str) -> str:
        """Under the tag of ``to``; its digest."""
        self._ask("PUT", self._to.tag, data=content, headers={"Content-Type": kind})
        return f"sha256:{hashlib.sha256(content).hexdigest()}"

    def _ask(self, method: str, what: str, *, headers: Mapping[str, str], data: bytes = b"") -> Any:
        for again in (False, True):
            own = {"Authorization": self._authorization} if self._authorization else {}
            try:
                answer = self._session.request(
                    method, self._url + what, headers={**headers, **own}, data=data, timeout=PATIENCE
                )
                if answer.status_code == 401 and not again:
                    self._authorization = self._authorized(answer.headers.get("WWW-Authenticate", ""))
                    continue
            except requests.RequestException as error:
                raise self._failed(str(error)) from error
            if not answer.ok:
                raise self._failed(f"{answer.status_code} {answer.reason}: {answer.text[:300]}")
            return answer
        raise AssertionError("the second answer was judged")

    def _authorized(self, challenge: str) -> str:
        """For the Authorization header, as the registry wants it (RFC 9110, 11.6.1)."""
        account = self._account
        if challenge.lower().startswith("basic") and account is not None:
            pair = base64.b64encode(f"{account.user}:{account.password}".encode()).decode()
            return f"Basic {pair}"
        said = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        if not challenge.lower().startswith("bearer") or "realm" not in said:
            raise self._failed("it wants credentials that docker does not have")
        asked = {"service": said.get("service", ""), "scope": f"repository:{self._to.path}:pull,push"}
        answer = self._session.get(
            said["realm"],
            params={key: text for key, text in asked.items() if text},
            auth=(account.user, account.password) if account else None,
            timeout=PATIENCE,
        )
        if not answer.ok:
            raise self._failed(f"{answer.status_code} {answer.reason} from {said['realm']}")
        told = answer.json()
        return f"Bearer {told.get('token') or told.get('access_token')}"

    def _failed(self, why: str) -> Refusal:
        return Refusal(
            f"the list {self._to} could not be put into {self._to.registry}: {why}",
            f"`docker login {self._to.registry}`; or push one platform alone (--platform)",
        )


def put(to: Name, pushed: Mapping[str, Name], account: Account | None) -> Name:
    """A list of what was ``pushed``, by platform ("linux/arm64"), under ``to``'s tag. Its reference; or Refusal."""
    registry = Registry(to, account)
    try:
        parts = [
            (platform, name.digest, *registry.kind_and_size(name.digest)) for platform, name in pushed.items()
        ]
        content, kind = manifest_list(parts)
        return Name(to.registry, to.path, to.tag, registry.put(content, kind))
    finally:
        registry.close()


def manifest_list(parts: Sequence[tuple[str, str, str, int]]) -> tuple[bytes, str]:
    """Of (platform, digest, media type, octets): the document and its own media type, which is OCI's if theirs are."""
    kind = INDEX if all("oci" in media for _, _, media, _ in parts) else LIST
    manifests = [
        {
            "mediaType": media,
            "size": size,
            "digest": digest,
            "platform": dict(zip(("os", "architecture", "variant"), platform.split("/"), strict=False)),
        }
        for platform, digest, media, size in parts
    ]
    return json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": manifests}).encode(), kind
