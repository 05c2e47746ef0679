"""A real Kubernetes on this machine, for tests: two nodes, no image registry, no systemd. See README.md."""
