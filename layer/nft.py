"""The one place that talks to libnftables: a script in, applied in one transaction, or a sentence about why
not.
"""

from __future__ import annotations

from nftables import Nftables


class NftError(Exception):
    """The kernel or the parser refused the script; ``args[0]`` says which line and why."""


class Nft:
    """A context of libnftables for this network namespace."""

    def __init__(self) -> None:
        self._nft = Nftables()

    def apply(self, script: str) -> None:
        """All of it or nothing. Takes some milliseconds, in which the caller waits."""
        code, _, words = self._nft.cmd(script)
        if code != 0:
            raise NftError(f"nftables refused the rules: {words.strip()}")
