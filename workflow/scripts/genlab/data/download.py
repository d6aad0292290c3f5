"""Fetch one file from a list of addresses: resumed, retried, checked, and written whole or not at all.

While a download runs, FILE.partial holds what has arrived and FILE.partial.json its address. Both
survive a kill, and the next run asks the server for the rest. The process that fetches locks
FILE.partial.lock, so that two runs with the same folder do not write the same file.
"""

import contextlib
import os
import re
import time
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote, urlsplit

from .. import InputError, cli, files, log

CHUNK = 1 << 16  # bytes; a broken connection loses at most this much
BUSY = {408, 429}  # HTTP answers worth another try, like every 5xx


class Unavailable(Exception):
    """An address cannot deliver the file; `transient` if another try may help."""

    def __init__(self, reason, transient=False):
        super().__init__(reason)
        self.transient = transient


def fetch(target, urls, mirrors=(), *, expected, retries=4, timeout=30):
    """Fetch a file from the first address that has it, and check it before it gets its name.

    urls, mirrors: see `addresses`. expected: what is known of the file, any of {"bytes": int,
    "md5": hex, "sha256": hex}. retries: further tries of each address, after waits of 1, 2, 4, ... s.
    timeout: seconds without an answer. A `target` that is already as expected is left alone.
    Raises an InputError that lists every address and its failure if no address has the file.
    """
    target = Path(target)
    candidates = addresses(urls, mirrors)
    if _is_there(target, expected):
        return
    with _alone(target) as waited:
        if waited and _is_there(target, expected):  # the other process has fetched it
            return
        failures = []
        for address in candidates:
            log.info("fetching %s from %s", target.name, address)
            try:
                _fetch_from(address, target, expected, retries, timeout)
            except Unavailable as error:
                log.warning("%s: %s", address, error)
                failures.append(f"{address} ({error})")
            else:
                log.info("%s: %s", target, "complete, and as expected" if expected else "complete, unchecked")
                return
    raise InputError(
        f"{target}: no address gave the file: {'; '.join(failures)}; check the network and the addresses, or put "
        f"{_name(urls[0])} into a folder and name that under data.mirrors in the configuration (--mirror by hand)"
    )


def _is_there(target, expected):
    """Whether `target` has been fetched already."""
    if not expected.keys() & {"md5", "sha256"}:
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
    with _writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with _writing(path):
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


def addresses(urls, mirrors=()):
    """Where to look, in order: each mirror with the base name of the urls, then the urls.

    Each is http(s)://host/..., file:///..., or a plain path (relative to the working folder).
    Raises InputError for any other address.
    """
    names = list(dict.fromkeys(map(_name, urls)))
    result = []
    for mirror in mirrors:
        if "://" in mirror:
            result += [f"{mirror.rstrip('/')}/{quote(name)}" for name in names]
        else:
            result += [str(PurePosixPath(mirror, name)) for name in names]
    result += urls
    for address in result:
        parts = urlsplit(address)
        if "://" not in address:
            continue
        if parts.scheme not in ("http", "https", "file"):
            raise InputError(
                f"{address}: addresses of kind {parts.scheme}:// are not known; use http(s)://, file:/// or a folder"
            )
        if parts.scheme == "file" and parts.netloc:
            raise InputError(
                f"{address}: a file:// address with a host ({parts.netloc}); write file:///, three slashes"
            )
        if parts.scheme != "file" and not parts.hostname:
            raise InputError(f"{address}: names no host; write {parts.scheme}://HOST/PATH")
    return list(dict.fromkeys(result))


def _name(url):
    """The base name of the file at `url`."""
    path = unquote(urlsplit(url).path) if "://" in url else url
    if not (name := PurePosixPath(path).name):
        raise InputError(f"{url}: names no file; give the address of the file itself")
    return name


def mismatch(path, expected):
    """How a file differs from `expected`, in words; "" if it does not."""
    found = files.digests(path)
    wrong = [f"{key} is {found[key]}, expected {value}" for key, value in expected.items() if found[key] != value]
    return " and ".join(wrong)


def _fetch_from(address, target, expected, retries, timeout):
    """Fetch `target` from one address; raises Unavailable."""
    partial = target.with_name(target.name + ".partial")
    origin = partial.with_name(partial.name + ".json")
    for attempt in range(retries + 1):
        try:
            if address.startswith(("http://", "https://")):
                resumed = _receive(address, partial, origin, timeout)
            else:
                resumed = _copy(address, partial, origin)
            if not (wrong := mismatch(partial, expected)):
                with _writing(target):
                    partial.replace(target)
                origin.unlink(missing_ok=True)
                return
            _discard(partial, origin)
            # A resumed download may have joined two files: start afresh.
            raise Unavailable(wrong, transient=resumed)
        except Unavailable as error:
            if not error.transient or attempt == retries:
                raise
            wait = min(2**attempt, 60)
            log.warning("%s: %s; try %d of %d in %d s", address, error, attempt + 2, retries + 1, wait)
        time.sleep(wait)


def _copy(address, partial, origin):
    """Copy a local file into `partial`. Returns False: nothing was resumed."""
    path = Path(unquote(urlsplit(address).path)) if "://" in address else Path(address).expanduser()
    try:
        with path.open("rb") as source:
            _discard(partial, origin)
            chunks = iter(lambda: source.read(CHUNK), b"")
            _store(chunks, partial, 0, path.stat().st_size)
    except OSError as error:
        raise Unavailable(error.strerror) from None
    return False


def _receive(address, partial, origin, timeout):
    """Download a file over HTTP into `partial`, resumed if the server's file is the same.

    Returns whether `partial` was resumed. Raises Unavailable.
    """
    import requests

    known = files.read_json(origin) if origin.exists() else {}
    start = partial.stat().st_size if known.get("address") == address and partial.exists() else 0
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": known["validator"]}
    try:
        with requests.get(address, headers=headers, stream=True, timeout=timeout) as response:
            status = response.status_code
            if status == 416 and response.headers.get("Content-Range") == f"bytes */{start}":
                return True  # it was complete already
            if status == 416:
                _discard(partial, origin)
                raise Unavailable("the server refuses to go on where the download stopped", transient=True)
            if status not in (200, 206):
                raise Unavailable(f"HTTP {status} {response.reason}", transient=status in BUSY or status >= 500)
            if status == 206 and not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                _discard(partial, origin)
                raise Unavailable("the server sent another part than the one asked for", transient=True)
            if status == 200:
                start = 0
                _discard(partial, origin)
                _remember(origin, address, response.headers)
            length = response.headers.get("Content-Length")
            _store(response.iter_content(CHUNK), partial, start, length and start + int(length))
    except (requests.Timeout, requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
        permanent = isinstance(error, requests.exceptions.SSLError)
        raise Unavailable(_cause(error), transient=not permanent) from None
    except requests.RequestException as error:
        raise Unavailable(_cause(error)) from None
    return start > 0


def _remember(origin, address, headers):
    """Note what a later run needs to resume. Note nothing if the server cannot tell a changed file."""
    etag = headers.get("ETag", "W/")
    validator = headers.get("Last-Modified") if etag.startswith("W/") else etag  # a weak one promises nothing
    if validator:
        with _writing(origin):
            files.write_json(origin, {"address": address, "validator": validator})


def _store(chunks, partial, start, total):
    """Append chunks of bytes to `partial`, unbuffered, so that a kill loses nothing that has arrived."""
    with contextlib.ExitStack() as stack:
        with _writing(partial):
            partial.parent.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(partial.open("ab", buffering=0))
        bar = cli.progress(total=total, initial=start, label=partial.stem, unit="B", unit_scale=True)
        stack.enter_context(bar)
        for chunk in chunks:
            rest = memoryview(chunk)
            while rest:  # an unbuffered write may be partial
                with _writing(partial):
                    rest = rest[file.write(rest) :]
            bar.update(len(chunk))
        with _writing(partial):
            os.fsync(file.fileno())


@contextlib.contextmanager
def _writing(path):
    """Turn a failure to write `path` (disk full, folder not writable) into an InputError."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}); make room or permit it, or choose another folder"
        ) from None


def _discard(*paths):
    for path in paths:
        with _writing(path):
            path.unlink(missing_ok=True)


def _cause(error):
    """The innermost cause of a failed request, in one short line."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__
    return re.sub(r"\s+", " ", getattr(error, "strerror", None) or str(error) or type(error).__name__)
