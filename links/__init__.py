"""The wire on asyncio streams: the one room of input and output that runner, layer and agent share."""
