"""What a log-in's tokens became, written back to the kubeconfig that they were read from, as kubectl does.

Under client-go's lock (FILE.lock, made by whoever writes), so that two do not write at once. The file is replaced
whole, keeps its mode, and loses its comments, as with kubectl.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

log = logging.getLogger(__name__)

LOCKED_WITHIN = 2.0
"""Seconds that another's lock is waited for: one that was left behind is nobody's."""


async def write_back(path: str, user: str, changed: Mapping[str, str]) -> None:
    """These keys of this user's auth-provider. One that cannot be written is worth a warning: the run has its token."""
    try:
        await asyncio.to_thread(_write, path, user, changed)
    except (OSError, ValueError, LookupError, TypeError) as error:
        log.warning("%s does not have the new tokens of %s: %s", path, user, error)


def _write(path: str, user: str, changed: Mapping[str, str]) -> None:
    import yaml

    path = os.path.realpath(path)
    with _locked(path):
        with open(path, encoding="utf-8") as file:
            whole = yaml.safe_load(file)
        (entry,) = (one for one in whole["users"] if one["name"] == user)
        entry["user"]["auth-provider"].setdefault("config", {}).update(changed)
        fd, fresh = tempfile.mkstemp(prefix=".kubeconfig-", dir=os.path.dirname(path))
        try:
            with os.fdopen(fd, "w", encoding="utf-8") as file:
                yaml.safe_dump(whole, file, sort_keys=False)
            shutil.copymode(path, fresh)
            with suppress(PermissionError):
                before = os.stat(path)
                os.chown(fresh, before.st_uid, before.st_gid)
            os.replace(fresh, path)
        except BaseException:
            os.unlink(fresh)
            raise


@contextmanager
def _locked(path: str) -> Iterator[None]:
    lock, overdue = f"{path}.lock", time.monotonic() + LOCKED_WITHIN
    while True:
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL, 0o600))
            break
        except FileExistsError:
            if time.monotonic() > overdue:
                raise FileExistsError(f"{lock} is there, of somebody who writes it") from None
            time.sleep(0.05)  # in a thread, and the file system tells nobody
    try:
        yield
    finally:
        os.unlink(lock)
