"""tun0: the one way out of the shared network namespace, made with the header that the C engine expects.

See Documentation/networking/tuntap.rst and linux/if_tun.h.
"""

from __future__ import annotations

import fcntl
import os
import struct

NAME = "tun0"
MTU = 65520
"""The largest that leaves room: one packet of it and the virtio header fit 64 KiB (design, section 3)."""

VNET_HEADER = 10
"""Octets of ``struct virtio_net_hdr`` before each packet (not the 12 of ``_mrg_rxbuf``); the engine's
constant too.
"""

_TUNSETIFF = 0x400454CA
_TUNSETOFFLOAD = 0x400454D0
_TUNSETVNETHDRSZ = 0x400454D8
_IFF_TUN, _IFF_NO_PI, _IFF_VNET_HDR = 0x0001, 0x1000, 0x4000
_TUN_F_CSUM = 1


def make() -> int:
    """A non-blocking fd of a new tun0 in this network namespace; the interface goes when it is closed.

    The kernel leaves checksums of the app's packets to us (TUN_F_CSUM), who never look at them: nothing is
    lost between the kernel and this process. OSError with a sentence when /dev/net/tun is missing or
    CAP_NET_ADMIN is.
    """
    try:
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise OSError(
            error.errno, f"open /dev/net/tun: {error.strerror} (modprobe tun on the engine's machine)"
        ) from None
    try:
        request = struct.pack("16sH22x", NAME.encode(), _IFF_TUN | _IFF_NO_PI | _IFF_VNET_HDR)
        fcntl.ioctl(fd, _TUNSETIFF, request)
        fcntl.ioctl(fd, _TUNSETVNETHDRSZ, struct.pack("i", VNET_HEADER))
        fcntl.ioctl(fd, _TUNSETOFFLOAD, _TUN_F_CSUM)
    except OSError as error:
        os.close(fd)
        raise OSError(error.errno, f"make {NAME}: {error.strerror}") from None
    return fd
