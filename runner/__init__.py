"""The mirror-run command: what runs on the user's machine. It decides, starts, relays and cleans up; it
moves no packet."""

VERSION = "0.1.0"
