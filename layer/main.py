"""The bridge daemon's entry: ``python3 -m layer.main``, started by the runner in the bridge container."""

from __future__ import annotations

import asyncio
import logging
import os

from layer.daemon import live
from layer.netstack.engine import Netstack

if __name__ == "__main__":
    asyncio.run(live(Netstack))
    logging.shutdown()
    os._exit(0)  # the engine's thread, if it still runs, has nothing to tidy
