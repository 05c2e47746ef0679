"""A pytest plugin: ``agent._engine`` built with sanitizers, from the path in AGENT_ENGINE, for the tree's own."""

from __future__ import annotations

import importlib.util
import os
import sys

_path = os.environ["AGENT_ENGINE"]
_spec = importlib.util.spec_from_file_location("agent._engine", _path)
assert _spec is not None
assert _spec.loader is not None
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)
sys.modules["agent._engine"] = _module
