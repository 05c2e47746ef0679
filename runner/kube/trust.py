"""Whom connections to one API server trust, and which certificate they show: a kubeconfig's entries as TLS contexts."""

from __future__ import annotations

import os
import ssl
import tempfile
from typing import Any

from runner.kube.credentials import Credential, pem_of
from runner.kube.errors import KubeError

Json = dict[str, Any]

_MEND = "mend the kubeconfig"


class Trust:
    """``cluster`` is the kubeconfig's entry; ``url`` the server's, for sentences."""

    def __init__(self, cluster: Json, url: str) -> None:
        self._cluster = cluster
        self._url = url
        self._contexts: dict[tuple[bytes, bytes], ssl.SSLContext] = {}
        self._proxys: ssl.SSLContext | None = None

    def of_server(self, credential: Credential) -> ssl.SSLContext:
        """With this credential's certificate: whom the kubeconfig names, or this machine's authorities. KubeError."""
        pair = (credential.certificate, credential.key)
        if (context := self._contexts.get(pair)) is None:
            self._contexts.clear()  # a renewed certificate replaces the former
            context = self._contexts[pair] = self._make(credential)
        return context

    def of_proxy(self) -> ssl.SSLContext:
        """Without a certificate of ours. kubectl trusts whom the kubeconfig names for the API server; we this machine's
        authorities as well, for a company's proxy is seldom the cluster's. KubeError."""
        if self._proxys is None:
            context = ssl.create_default_context()
            self._trust(context)
            self._proxys = context
        return self._proxys

    def _make(self, credential: Credential) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if not self._trust(context):
            context.load_default_certs()
        context.set_alpn_protocols(["http/1.1"])
        if credential.certificate:
            _load_pair(context, credential)
        return context

    def _trust(self, context: ssl.SSLContext) -> bool:
        """Besides whom it trusts already, the kubeconfig's authority; whether there is one."""
        authority = pem_of(self._cluster, "certificate-authority")
        try:
            if authority:
                context.load_verify_locations(cadata=authority.decode())
        except (ssl.SSLError, ValueError) as error:
            raise KubeError(
                0, "", f"the certificate-authority of {self._url} cannot be read: {error}", _MEND
            ) from error
        # Clusters' own authorities lack fields that Python 3.13 asks for by default (RFC 5280) and kubectl does not.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if self._cluster.get("insecure-skip-tls-verify"):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return bool(authority)


def _load_pair(context: ssl.SSLContext, credential: Credential) -> None:
    """OpenSSL takes a certificate from files alone; ours lives for this call, readable by its owner only."""
    fd, path = tempfile.mkstemp(prefix="mirror-run-")
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(credential.certificate + b"\n" + credential.key)
        context.load_cert_chain(path)
    except ssl.SSLError as error:
        raise KubeError(
            0, "", f"the client certificate or its key cannot be read: {error.reason}", _MEND
        ) from error
    finally:
        os.unlink(path)
