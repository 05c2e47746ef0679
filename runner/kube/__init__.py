"""The runner on a Kubernetes cluster: targets, agents, rights and the way to them."""
