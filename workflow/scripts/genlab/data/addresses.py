"""Addresses of files: which are known, in which order they are tried, and how they are shown."""

import re
from pathlib import PurePosixPath
from urllib.parse import quote, unquote, urlsplit

from .. import InputError


def candidates(urls, mirrors=()):
    """Where to look, in order: each mirror with the base name of the urls, then the urls.

    Each is http(s)://host/..., file:///..., or a plain path (relative to the working folder).
    Raises InputError for any other address.
    """
    names = list(dict.fromkeys(map(base_name, urls)))
    result = []
    for mirror in mirrors:
        if "://" in mirror:
            result += [f"{mirror.rstrip('/')}/{quote(name)}" for name in names]
        else:
            result += [str(PurePosixPath(mirror, name)) for name in names]
    result += urls
    for address in result:
        _check(address)
    return list(dict.fromkeys(result))


def _check(address):
    """Raise InputError for an address of an unknown kind."""
    parts = _split(address)
    if "://" not in address:
        return
    if parts.scheme not in ("http", "https", "file"):
        raise InputError(
            f"{shown(address)}: addresses of kind {parts.scheme}:// are not known; use http(s)://, file:/// or a folder"
        )
    if parts.scheme == "file" and parts.netloc:
        raise InputError(
            f"{shown(address)}: a file:// address with a host ({parts.hostname}); write file:///, three slashes"
        )
    if parts.scheme != "file" and not parts.hostname:
        raise InputError(f"{shown(address)}: names no host; write {parts.scheme}://HOST/PATH")


def _split(address):
    """The parts of an address, of a plain path as well. Raises InputError if host and port cannot be told apart."""
    try:
        parts = urlsplit(address)
        if "\0" in unquote(address) or ("://" in address and re.search(r"\s", address.split("/")[2])):
            raise ValueError("a character that no host and no path has")
        _ = parts.port  # which raises the same for what is no number
    except ValueError as error:
        # A password that is not encoded can end anywhere, so all that may be one is left out.
        safe = re.sub("//.*@", "//", address, flags=re.DOTALL)
        reason = error if safe == address else "in its name or password"
        raise InputError(
            f"{shown(safe)}: no address that can be read ({shown(reason)}); write / : @ ? # [ ] and blanks in a name "
            "or password as %2F %3A %40 %3F %23 %5B %5D %20"
        ) from None
    return parts


def base_name(url):
    """The base name of the file at `url`."""
    path = unquote(_split(url).path) if "://" in url else url
    if (name := PurePosixPath(path).name) in ("", ".."):
        raise InputError(f"{shown(url)}: names no file; give the address of the file itself")
    return name


def shown(text):
    """A text as one short printable line, without what is secret in its addresses: names, passwords and queries."""
    text = re.sub(r"//[^/?#]*@", "//", str(text))
    text = re.sub(r"(//[^\s?]*)\?[^\s'\")]+", r"\1?...", text)
    text = re.sub(r"\s+", " ", text)
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)[:300]
