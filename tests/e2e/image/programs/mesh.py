"""A mesh's sidecar, as far as what arrives goes: its chains, and a relay that runs as the mesh's user.

    mesh.py istio|linkerd [UID]

The chains are what istio-init and linkerd2-proxy-init make for one port, 8080. Istio's proxy connects to where the
client wanted to, from 127.0.0.6; Linkerd's does so from the pod's own address. UID: an injector was told another than
the mesh's own. {"ready": …} is written once it relays.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import threading

RULES = {
    "istio": (1337, 15006, "127.0.0.6", """
        chain inbound { type nat hook prerouting priority dstnat; tcp dport 8080 redirect to :15006; }
        chain output { type nat hook output priority -100;
            ip saddr 127.0.0.6 oif lo return
            oif lo ip daddr != 127.0.0.1 meta skuid 1337 tcp dport 8080 redirect to :15006
        }"""),
    "linkerd": (2102, 4143, "", """
        chain inbound { type nat hook prerouting priority dstnat; tcp dport 8080 redirect to :4143; }
        chain output { type nat hook output priority -100; meta skuid 2102 return; oif lo return; }
        """),
}  # fmt: skip
SO_ORIGINAL_DST = 80  # linux/netfilter_ipv4.h


def pump(one: socket.socket, other: socket.socket) -> None:
    try:
        while octets := one.recv(65536):
            other.sendall(octets)
        other.shutdown(socket.SHUT_WR)
    except OSError:
        other.close()


def relay(client: socket.socket, source: str) -> None:
    wanted = client.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16)
    port, address = struct.unpack("!2xH4s8x", wanted)
    with client, socket.socket() as behind:
        if source:
            behind.bind((source, 0))
        behind.connect((socket.inet_ntoa(address), port))
        threading.Thread(target=pump, args=(behind, client), daemon=True).start()
        pump(client, behind)


def main() -> None:
    own, port, source, chains = RULES[sys.argv[1]]
    uid = int(sys.argv[2]) if len(sys.argv) > 2 else own
    chains = chains.replace(f"skuid {own}", f"skuid {uid}")
    listener = socket.create_server(("0.0.0.0", port), backlog=128)
    subprocess.run(["nft", "-f", "-"], input=f"table ip mesh {{ {chains}\n}}", text=True, check=True)
    os.setresuid(uid, uid, uid)
    print(json.dumps({"ready": sys.argv[1]}), flush=True)
    while True:
        threading.Thread(target=relay, args=(listener.accept()[0], source), daemon=True).start()


main()
