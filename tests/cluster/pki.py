"""Who is who in the cluster: one authority, and a certificate for each of its own users.

The common name is the user, organisations are the groups:
https://kubernetes.io/docs/setup/best-practices/certificates/
They are made once and kept: a kubeconfig that somebody copied is good for the next cluster too.
"""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

from tests.cluster.places import CONTROL, DOMAIN, FIRST_SERVICES, NODES, SERVER

DAYS = "3650"
ADMIN = "admin"
USERS = {
    ADMIN: ("kubernetes-admin", "system:masters"),
    "controllers": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "proxy": ("system:kube-proxy", ""),
    "policies": ("kube-router", ""),
    "to-kubelets": ("kube-apiserver", "system:masters"),
    **{node.name: (f"system:node:{node.name}", "system:nodes") for node in NODES},
}
NAMES = [
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    f"kubernetes.default.svc.{DOMAIN}",
    "localhost",
]
ADDRESSES = [CONTROL, *FIRST_SERVICES, "127.0.0.1"]


def openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"openssl {' '.join(arguments)}: {done.stderr.strip()}")


def ensure(folder: Path) -> None:
    """The authority (once), the server's certificate, and each user's with a kubeconfig; at once if they are there."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    complete = folder / "complete"
    wanted = repr((USERS, NAMES, ADDRESSES))
    if complete.exists() and complete.read_text() == wanted:
        return
    if not (folder / "accounts.pub").exists():
        _authority(folder)
    names = ",".join([*(f"DNS:{name}" for name in NAMES), *(f"IP:{address}" for address in ADDRESSES)])
    _certificate(
        folder, "server", "/CN=kube-apiserver", f"subjectAltName={names}\nextendedKeyUsage=serverAuth\n"
    )
    for name, (user, group) in USERS.items():
        subject = (f"/O={group}" if group else "") + f"/CN={user}"
        _certificate(folder, name, subject, "extendedKeyUsage=clientAuth\n")
        (folder / f"{name}.conf").write_text(
            kubeconfig(
                (folder / "ca.crt").read_bytes(),
                (folder / f"{name}.crt").read_bytes(),
                (folder / f"{name}.key").read_bytes(),
            )
        )
    complete.write_text(wanted)


def _authority(folder: Path) -> None:
    """Who signs people's and programs' certificates, and who signs service accounts' tokens."""
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl(
        "req", "-x509", *curve, "-keyout", f"{folder}/ca.key", "-out", f"{folder}/ca.crt", "-days", DAYS,
        "-subj", "/CN=mirror-run-test-cluster", "-addext", "keyUsage=critical,keyCertSign,cRLSign,digitalSignature",
    )  # fmt: skip
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{folder}/accounts.key")
    openssl("ec", "-in", f"{folder}/accounts.key", "-pubout", "-out", f"{folder}/accounts.pub")


def _certificate(folder: Path, name: str, subject: str, extensions: str) -> None:
    key, request, certificate, wanted = (
        str(folder / f"{name}.{end}") for end in ("key", "csr", "crt", "ext")
    )
    Path(wanted).write_text(extensions)
    openssl(
        "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
        "-keyout", key, "-out", request, "-subj", subject,
    )  # fmt: skip
    openssl(
        "x509", "-req", "-in", request, "-CA", f"{folder}/ca.crt", "-CAkey", f"{folder}/ca.key", "-CAcreateserial",
        "-days", DAYS, "-out", certificate, "-extfile", wanted,
    )  # fmt: skip
    Path(request).unlink()
    Path(wanted).unlink()


def kubeconfig(
    ca: bytes, certificate: bytes, key: bytes, server: str = SERVER, namespace: str = "default"
) -> str:
    """One context for one user, everything inside. (JSON is YAML.)"""

    def text(body: bytes) -> str:
        return base64.b64encode(body).decode()

    name = "mirror-run-test"
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": name, "cluster": {"server": server, "certificate-authority-data": text(ca)}}
            ],
            "users": [
                {
                    "name": name,
                    "user": {"client-certificate-data": text(certificate), "client-key-data": text(key)},
                }
            ],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": namespace}}],
            "current-context": name,
        },
        indent=1,
    )
