"""Bring the bytes of a file from one address into FILE.partial, where a later try can go on.

FILE.partial.json tells where the bytes are from, and which version of the file they are of.
"""

import contextlib
import hashlib
import os
import re
import ssl
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

from .. import InputError, cli, files
from .addresses import shown

CHUNK = 1 << 16  # bytes read at a time
MOST = 1 << 35  # bytes of a file whose size is not known: a server may send without end
SLOWEST = 1 << 10  # bytes a second; what is slower counts as silence
BUSY = {408, 429}  # HTTP answers worth another try, like every 5xx


class Unavailable(Exception):
    """An address cannot deliver the file; `transient` if another try may help."""

    def __init__(self, reason, transient=False):
        super().__init__(reason)
        self.transient = transient


def copy(address, partial, most):
    """Copy a local file into `partial`. Returns False: nothing was resumed."""
    path = Path(unquote(urlsplit(address).path)) if "://" in address else Path(address).expanduser()
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise Unavailable("no regular file")  # a pipe may never end
        with path.open("rb") as source:
            discard(partial)
            chunks = iter(lambda: source.read(CHUNK), b"")
            _store(chunks, partial, 0, path.stat().st_size, most)
    except OSError as error:
        raise Unavailable(error.strerror) from None
    return False


def receive(address, partial, timeout, most):
    """Download a file over HTTP into `partial`, resumed if the server's file is the same.

    Returns whether `partial` was resumed. Raises Unavailable.
    """
    import requests
    from urllib3.exceptions import HTTPError

    known = _known(partial, address)
    start = partial.stat().st_size if known and partial.exists() else 0
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": known["validator"]}
    try:
        with requests.get(address, headers=headers, stream=True, timeout=timeout) as response:
            ways = [each.url.partition(":")[0] for each in (*response.history, response)]
            if ways[0] == "https" and "http" in ways:
                raise Unavailable("it leads from https:// to http://, which others can answer for")
            status = response.status_code
            if status == 416 and response.headers.get("Content-Range") == f"bytes */{start}":
                return True  # it was complete already
            if status == 416 and start:
                discard(partial)
                raise Unavailable("the server refuses to go on where the download stopped", transient=True)
            if status not in (200, 206):
                raise Unavailable(f"HTTP {status} {shown(response.reason)}", transient=status in BUSY or status >= 500)
            total = _whole(response.headers, start, known) if status == 206 else None
            if status == 206 and total is None:
                discard(partial)
                raise Unavailable("the server sent another part than the one asked for", transient=True)
            if status == 200:
                start = 0
                discard(partial)
                if not _encoded(response.headers):  # of other files, parts cannot be put together
                    total = _number(response.headers.get("Content-Length", ""))
                    _remember(partial, address, response.headers, total)
            _store(_pieces(response.raw, timeout), partial, start, total, most)
    except InputError:
        raise
    except (requests.RequestException, HTTPError, ValueError) as error:  # a ValueError of an address it leads to
        raise Unavailable(*_cause(error)) from None
    if total is not None and (size := partial.stat().st_size) != total:
        if size > total:
            discard(partial)
        raise Unavailable(f"the server sent {size} bytes, where it announced {total}", transient=True)
    return start > 0


def _known(partial, address):
    """What `_remember` noted of a download from this address; {} if there is nothing sound."""
    try:
        known = files.read_json(_origin(partial), {"address": str, "validator": str})
    except (OSError, InputError):
        return {}
    return known if known["address"] == _mark(address) else {}


def _mark(address):
    """What tells an address from others, and does not tell the password that may be in it."""
    return hashlib.sha256(address.encode()).hexdigest()


def _remember(partial, address, headers, total):
    """Note what a later run needs to resume. Note nothing if the server cannot tell a changed file."""
    if validator := _validator(headers):
        with writing(_origin(partial)):
            files.write_json(_origin(partial), {"address": _mark(address), "validator": validator, "bytes": total})


def _validator(headers):
    """What tells one version of a server's file from another: its ETag or time of change; None if neither does."""
    etag = headers.get("ETag", "W/")
    return headers.get("Last-Modified") if etag.startswith("W/") else etag  # a weak one promises nothing


def _encoded(headers):
    """Whether a server compresses what it sends, though it is asked not to."""
    return headers.get("Content-Encoding", "identity") != "identity"


def _whole(headers, start, known):
    """The size of the file of which an answer holds the part from `start`; None if it does not continue `known`."""
    found = re.fullmatch(r"bytes ([0-9]{1,18})-[0-9]+/([0-9]{1,18})", headers.get("Content-Range", ""))
    if not (start and found and int(found[1]) == start) or _encoded(headers):
        return None
    # A server may ignore If-Range, and send a part of a file that has changed.
    if _validator(headers) not in (None, known["validator"]):
        return None
    return int(found[2]) if known.get("bytes") in (None, int(found[2])) else None


def _number(text):
    """The number that a header holds; None if it is none."""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


def _pieces(raw, timeout):
    """Yield what arrives, as it arrives. Raises Unavailable if that is too little."""
    since, count = time.monotonic(), 0
    while piece := raw.read1(CHUNK, decode_content=True):
        yield piece
        count += len(piece)
        if (passed := time.monotonic() - since) > timeout:
            if count < SLOWEST * passed:
                raise Unavailable(f"less than {SLOWEST} bytes arrive in a second", transient=True)
            since, count = time.monotonic(), 0


def _cause(error):
    """(the innermost cause of a failed request, in one line; whether another try may help)."""
    import requests
    from urllib3.exceptions import ProtocolError, TimeoutError

    broken = requests.Timeout, requests.ConnectionError, requests.exceptions.ChunkedEncodingError
    transient = isinstance(error, (*broken, ProtocolError, TimeoutError))
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {shown(error.verify_message)}", False
    transient &= not isinstance(error, ssl.SSLError) or isinstance(error, ssl.SSLEOFError)
    return shown(getattr(error, "strerror", None) or str(error) or type(error).__name__), transient


def _store(chunks, partial, start, total, most):
    """Append chunks of bytes to `partial`, unbuffered, so that a kill loses nothing that has arrived."""
    with contextlib.ExitStack() as stack:
        with writing(partial):
            partial.parent.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(partial.open("ab", buffering=0))
        bar = cli.progress(total=total, initial=start, label=partial.stem, unit="B", unit_scale=True)
        stack.enter_context(bar)
        size = start
        for chunk in chunks:
            size += len(chunk)
            if size > most:
                discard(partial)
                raise Unavailable(f"more than {most} bytes", transient=start > 0)
            rest = memoryview(chunk)
            while rest:  # an unbuffered write may be partial
                with writing(partial):
                    rest = rest[file.write(rest) :]
            bar.update(len(chunk))
        with writing(partial):
            os.fsync(file.fileno())


@contextlib.contextmanager
def writing(path):
    """Turn a failure to write `path` (disk full, folder not writable) into an InputError."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}); make room or permit it, or choose another folder"
        ) from None


def _origin(partial):
    """The file that tells where the bytes of `partial` are from."""
    return partial.with_name(partial.name + ".json")


def discard(partial):
    """Delete what has arrived."""
    for path in (partial, _origin(partial)):
        with writing(path):
            path.unlink(missing_ok=True)


def finish(partial, target):
    """Give what has arrived its final name."""
    with writing(target):
        partial.replace(target)
    _origin(partial).unlink(missing_ok=True)
