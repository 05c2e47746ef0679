"""What install applies, as text: for kubectl, or for a repository that somebody reviews."""

from __future__ import annotations

import yaml

from runner.kube.install_manifests import InstallOptions, manifests


class Plain(yaml.SafeDumper):
    """No anchors: what stands twice is written twice."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - PyYAML asks with it
        return True


def as_yaml(options: InstallOptions) -> str:
    """The same octets for the same options; a newline at its end."""
    text: str = yaml.dump_all(manifests(options), Dumper=Plain, sort_keys=False, width=120)
    return text
