"""The bridge's data plane and nothing else, for measuring: tun0, its routes and rules, the engine, one data
link on an fd.

Arguments: the target's address, the link's fd, and any of: files=FD, to serve them and their door, by a link of their
own; keep, for links that outlive their sockets. At SIGUSR1 it says how many requests of files have crossed the link,
and their st_dev. The parts are the product's own (layer.tun, layer.ways, layer.rules, layer.netstack), put together as
layer.bridge does; there is no agent's socket, no mirror-init and no app container.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import threading

from layer import rules, tun, ways
from layer.netstack.engine import Netstack
from wire.messages import Address


def main(address: str, link: str, *more: str) -> None:
    """Until SIGTERM."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # as in a container
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR1])
    ip = socket.inet_aton(address)
    engine = Netstack(tun.make())
    ways.prepare((Address(ip, 24),))
    engine.addresses([ip])
    # The product applies them by libnftables' Python module, which only Debian's own Python has.
    script = rules.whole(rules.Ground((ip,), ()), rules.Sockets())
    subprocess.run(["nft", "-f", "-"], input=script, text=True, check=True)
    own = [int(word.removeprefix("files=")) for word in more if word.startswith("files=")]
    if own:
        engine.files(0, 0, writes=False)
    thread = threading.Thread(target=engine.run, name="engine")
    thread.start()
    first = engine.link_add(int(link), primary=False, keeps="keep" in more)
    engine.link_primary(first, 0, files=False)
    for fd in own:
        engine.link_primary(engine.files_link_add(fd, keeps="keep" in more), 0)
    engine.listeners(50)
    os.write(1, b"ready\n")
    while signal.sigwait([signal.SIGTERM, signal.SIGUSR1]) == signal.SIGUSR1:
        os.write(1, b"%d %d\n" % (engine.files_counters().asked, engine.files_device()))
    engine.stop()
    thread.join()
    engine.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
