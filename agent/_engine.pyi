from typing import Any

class _Ffi:
    NULL: Any
    def new(self, cdecl: str, init: object = ...) -> Any: ...
    def buffer(self, cdata: Any, size: int = ...) -> Any: ...
    def string(self, cdata: Any, maxlen: int = ...) -> Any: ...

ffi: _Ffi
lib: Any
