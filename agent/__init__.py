"""The privileged process beside the target: it mirrors, dials and looks things up as the target."""

VERSION = "0.1.0"
