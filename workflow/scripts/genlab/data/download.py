"""Fetch one file from a list of addresses: resumed, retried, checked, and written whole or not at all.

While a download runs, FILE.partial holds what has arrived and FILE.partial.json where it is from. Both
survive a kill, and the next run asks the server for the rest. The process that fetches locks
FILE.partial.lock, so that two runs with the same folder do not write the same file.
"""

import contextlib
import os
import time
from pathlib import Path

from .. import InputError, files, log
from . import transfer
from .addresses import base_name, candidates, shown

CHECKSUMS = {"md5", "sha256"}


def fetch(target, urls, mirrors=(), *, expected, retries=4, timeout=30):
    """Fetch a file from the first address that has it, and check it before it gets its name.

    urls, mirrors: see `addresses.candidates`. expected: what is known of the file, any of {"bytes": int,
    "md5": hex, "sha256": hex}. retries: further tries of each address, after waits of 1, 2, 4, ... s.
    timeout: seconds without an answer. A `target` that is already as expected is left alone.
    Raises an InputError that lists every address and its failure if no address has the file.
    """
    target = Path(target)
    places = candidates(urls, mirrors)
    if _is_there(target, expected):
        return
    with _alone(target) as waited:
        if waited and _is_there(target, expected):  # the other process has fetched it
            return
        failures = []
        for address in places:
            log.info("fetching %s from %s", target.name, shown(address))
            try:
                _fetch_from(address, target, expected, retries, timeout)
            except transfer.Unavailable as error:
                log.warning("%s: %s", shown(address), error)
                failures.append(f"{shown(address)} ({error})")
            else:
                log.info("%s: %s", target, "complete, and as expected" if expected else "complete, unchecked")
                return
    raise InputError(
        f"{target}: no address gave the file: {'; '.join(failures)}; check the network and the addresses, or put "
        f"{base_name(urls[0])} into a folder and name that under data.mirrors in the configuration (--mirror by hand)"
    )


def _is_there(target, expected):
    """Whether `target` has been fetched already."""
    if not expected.keys() & CHECKSUMS:
        log.warning("%s: no checksum is known, so its content goes unchecked", target)
        return False
    if not target.exists():
        return False
    if wrong := mismatch(target, expected):
        log.warning("%s: there, but %s; fetching it again", target, wrong)
        return False
    log.info("%s: already there, and its checksum is right", target)
    return True


@contextlib.contextmanager
def _alone(target):
    """Hold the lock beside `target`; yields whether another process held it before. A killed process frees it."""
    path, waited = target.with_name(f"{target.name}.partial.lock"), False
    with transfer.writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with transfer.writing(path):
            file = files.locked(path)
        with contextlib.suppress(FileNotFoundError):  # the process that held it has deleted it
            if file and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                break
        if not file and not waited:
            log.warning("%s: another process fetches it; waiting for it to end", target)
            waited = True
        time.sleep(0.5)
    with file:
        try:
            yield waited
        finally:
            path.unlink(missing_ok=True)


def mismatch(path, expected):
    """How a file differs from `expected`, in words; "" if it does not."""
    found = files.digests(path)
    wrong = [f"{key} is {found[key]}, expected {value}" for key, value in expected.items() if found[key] != value]
    return " and ".join(wrong)


def _fault(path, expected):
    """What is wrong with a file that has arrived, in words; "" if nothing is."""
    found = mismatch(path, expected)
    with path.open("rb") as file:
        begin = file.read(1000).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    # A login or an error may come as a page with the status of success. A checksum knows better than its beginning.
    if (found or not expected.keys() & CHECKSUMS) and begin.startswith((b"<!doctype html", b"<html")):
        return f"a web page, not the file{': ' * bool(found)}{found}"
    return found


def _fetch_from(address, target, expected, retries, timeout):
    """Fetch `target` from one address; raises transfer.Unavailable."""
    partial = target.with_name(target.name + ".partial")
    most = expected.get("bytes", transfer.MOST)
    for attempt in range(retries + 1):
        try:
            if address.startswith(("http://", "https://")):
                resumed = transfer.receive(address, partial, timeout, most)
            else:
                resumed = transfer.copy(address, partial, most)
            if not (wrong := _fault(partial, expected)):
                return transfer.finish(partial, target)
            transfer.discard(partial)
            # A resumed download may have joined two files: start afresh.
            raise transfer.Unavailable(wrong, transient=resumed)
        except transfer.Unavailable as error:
            if not error.transient or attempt == retries:
                raise
            wait = min(2**attempt, 60)
            log.warning("%s: %s; try %d of %d in %d s", shown(address), error, attempt + 2, retries + 1, wait)
        time.sleep(wait)
