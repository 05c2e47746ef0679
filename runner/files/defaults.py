"""Whose a path is where nobody said anything: patterns, most of them folders of the Filesystem Hierarchy Standard.

Follows mirrord's division: what belongs to the system, the language and its packages stays in the container, whose
image knows better; what tells the service where it runs is the target's; the developer's own credentials are nobody's.
"""

from __future__ import annotations

NOT_FOUND = (
    # Of the developer's clouds and clusters: a program that finds them would act as the developer, not as the target.
    r"/\.aws(/|$)",
    r"/\.azure(/|$)",
    r"/\.config/gcloud(/|$)",
    r"/\.kube(/|$)",
    r"/\.oci(/|$)",
)

TARGET = (
    # Who it is on its network, and whom it trusts.
    r"^/etc/(hosts|hostname|resolv\.conf)$",
    r"^/etc/(ssl|pki|ca-certificates)(/|$)",
    r"^/etc/ca-certificates\.conf$",
    r"^/usr/(local/)?share/ca-certificates(/|$)",
    # Where Kubernetes, Docker and others put secrets.
    r"^/(var/)?run/secrets(/|$)",
    r"^/run/credentials(/|$)",
    r"^/etc/podinfo(/|$)",
)

LOCAL = (
    # The kernel's, and what is this process's own.
    r"^/(proc|sys|dev)(/|$)",
    r"^/(tmp|var/tmp)(/|$)",
    r"^/\.mirror-run(/|$)",
    # The system's.
    r"^/(bin|sbin|lib|lib32|lib64|libx32|usr|opt|nix|snap|boot|etc|home|root)(/|$)",
    r"^/var/(cache|lib/(apt|dpkg|rpm|pacman)|log)(/|$)",
    r"^/run/(lock|systemd|user|udev)(/|$)",
    r"^/$",
    # A language's, wherever they lie.
    r"\.so(\.[0-9]+)*$",
    r"\.(a|la|o|d|dylib)$",
    r"\.(py|pyc|pyi|pyd|pth|egg|whl)$",
    r"/(pyvenv\.cfg|__pycache__(/.*)?)$",
    r"\.(js|cjs|mjs|jsx|ts|tsx|node|map)$",
    r"/(package|package-lock|tsconfig)\.json$",
    r"/(node_modules|site-packages|dist-packages|vendor/bundle|\.bundle|\.cargo|\.rustup|\.gradle|\.m2|\.nuget)(/|$)",
    r"\.(class|jar|war|jmod|dll|exe|pdb|rb|gemspec|pl|pm|php|lua|beam|go|rs|swift|kt|groovy)$",
    r"/(Gemfile|Gemfile\.lock|go\.mod|go\.sum|Cargo\.toml|Cargo\.lock)$",
)
