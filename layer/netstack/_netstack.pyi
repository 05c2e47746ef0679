# The compiled module (build.py). cffi's types are its own; the wrapper gives them names.
from typing import Any

class ffi:  # noqa: N801
    NULL: Any
    @staticmethod
    def new(kind: str, init: Any = ...) -> Any: ...
    @staticmethod
    def buffer(data: Any, size: int = ...) -> Any: ...
    @staticmethod
    def string(data: Any, maxlen: int = ...) -> bytes: ...

lib: Any
