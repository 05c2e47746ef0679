"""The bridge's engine in C: tun0 on one side, data links to agents on the other. ``engine`` is its door from Python."""
