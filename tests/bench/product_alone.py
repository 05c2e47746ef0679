"""tun0 and its routes as the bridge makes them, then the program given (alone.c's) with tun0's fd as its last
argument.
"""

from __future__ import annotations

import os
import socket
import sys

from layer import tun, ways
from wire.messages import Address

if __name__ == "__main__":
    fd = tun.make()
    os.set_inheritable(fd, True)
    ways.prepare((Address(socket.inet_aton(sys.argv[1]), 24),))
    os.execv(sys.argv[2], [sys.argv[2], str(fd)])
