"""What the user is told when mirror-run cannot go on: what failed, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence

FAILED = 125
"""Exit code when mirror-run itself failed, as of `docker run` (docker-run(1), "Exit Status")."""

CANNOT_EXECUTE = 126
NOT_FOUND = 127


class Refusal(Exception):
    """A sentence for the user, and the next step. ``code`` is mirror-run's exit code."""

    def __init__(self, what: str, next_step: str = "", *, code: int = FAILED) -> None:
        super().__init__(what)
        self.what = what
        self.next_step = next_step
        self.code = code


class Interrupted(Exception):
    """A signal ended the run before its command had started."""

    def __init__(self, signal: int) -> None:
        super().__init__(f"signal {signal}")
        self.code = 128 + signal


def there_is(names: Sequence[str], most: int = 5) -> str:
    """ "there is a"; "there are a, b and 3 more": what a name could have been."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"there {'is' if len(names) == 1 else 'are'} {', '.join(names[:most])}{more}"
