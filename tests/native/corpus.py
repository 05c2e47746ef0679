"""The corpus of HTTP/1 requests (gate_corpus.c), and where the gate says that one ends, for tests in Python."""

from __future__ import annotations

import ctypes
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = (
    "tests/native/delimit.c",
    "tests/native/gate_corpus.c",
    "agent/http/http1_head.c",
    "agent/http/http1_body.c",
)
COUNT = 648


@dataclass(frozen=True, slots=True)
class Case:
    """One request; ``ours``: it carries ``x-for: anna``, however spelt. ``answer`` is one that fits it."""

    octets: bytes
    ours: bool
    answer: bytes


class Corpus:
    """Compiled into a library in ``folder``, and read."""

    def __init__(self, folder: Path) -> None:
        made = folder / "corpus.so"
        options = ["-std=gnu11", "-D_GNU_SOURCE", "-O1", "-shared", "-fPIC", f"-I{ROOT}"]
        subprocess.run(["gcc", *options, "-o", str(made), *SOURCES], cwd=ROOT, check=True)
        self._library = ctypes.CDLL(str(made))
        self._library.delimit.restype = ctypes.c_long
        for name in ("corpus_plain", "corpus_answer", "corpus_odd_copy"):
            getattr(self._library, name).restype = ctypes.c_size_t
        self.plain = [self._plain(number) for number in range(COUNT)]
        self.odd = [octets for number in range(100) if (octets := self._copy("corpus_odd_copy", number))]

    def _copy(self, function: str, *arguments: object) -> bytes:
        out = ctypes.create_string_buffer(8192)
        number, *rest = arguments
        length: int = getattr(self._library, function)(number, out, *rest)
        return out.raw[:length]

    def _plain(self, number: int) -> Case:
        ours = ctypes.c_bool()
        octets = self._copy("corpus_plain", number, ctypes.byref(ours))
        return Case(octets, ours.value, self._copy("corpus_answer", number))

    def delimit(self, octets: bytes) -> int:
        """As ``delimit`` in delimit.c."""
        length: int = self._library.delimit(octets, ctypes.c_size_t(len(octets)))
        return length
