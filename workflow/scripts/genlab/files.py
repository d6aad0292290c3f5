"""Files: atomic writes, locks, JSON, and checksums."""

import contextlib
import errno
import functools
import glob
import hashlib
import itertools
import json
import math
import os
import shlex
import shutil
import socket
from pathlib import Path

from . import ComputationError, InputError, log

REMAKE = "remake it with the stage that writes it"
PYTORCH = (b"PK\x03\x04", b"\x80")  # how a file of torch.save begins: an archive, or a pickle
NUMBER = int | float  # of `check_fields`
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no room: the disk, the quota, the largest file allowed


@contextlib.contextmanager
def atomic(path):
    """Yield a temporary path beside `path`, and rename it to `path` only if all went well.

    A result appears whole or not at all: an exception or a kill leaves `path` unchanged.
    """
    path = Path(path)
    with folder_of(path):
        temporary = beside(path, f"part{path.suffix}")
        try:
            temporary.touch()  # its mode shows the umask, which cannot be read without changing it for all threads
            mode = temporary.stat().st_mode & 0o777
            temporary.unlink()
            yield temporary
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
            os.chmod(temporary, mode)  # some writers make private files
            os.replace(temporary, path)
        except OSError as error:  # a full disk has no file name of its own
            if error.errno in FULL:
                raise cannot_write(path, error.strerror) from None
            raise OSError(error.errno, error.strerror, str(path)) from None
        finally:
            with contextlib.suppress(OSError):  # there may be none; and the error that says why must not be hidden
                temporary.unlink()


@contextlib.contextmanager
def folder_of(path):
    """Make the folder of `path`, and remove what is new of it if what is done inside fails."""
    new = [folder for folder in Path(path).parents if not folder.exists()]
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # it holds files already
            for folder in new:
                folder.rmdir()
        raise


def cannot_write(path, reason):
    """The error of a full disk."""
    return ComputationError(f"{path}: cannot be written ({reason}); what was there is unchanged; make room, run again")


def beside(path, ending):
    """A hidden name beside `path` for this process alone. Files that killed processes left there are deleted."""
    mark = f".{path.name}.{socket.gethostname()}-"
    for left in path.parent.glob(f"{glob.escape(mark)}*"):
        number = left.name.removeprefix(mark).partition(".")[0]
        if number.isdigit() and not _alive(int(number)):
            shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
    return path.with_name(f"{mark}{os.getpid()}.{ending}")


def _alive(number):
    """Whether a process with this number runs."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # of another user
    return True


def locked(path):
    """The open file at `path`, locked until it is closed or this process ends; None if another process holds it."""
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(open(path, "w"))
        if not lock(file):
            return None
        stack.pop_all()
        return file


def lock(file, wait=False):
    """Lock an open file; returns whether that was possible, or waits until it is.

    A file system without locks is no reason to stop: all is written whole. It is said, for two runs disturb each other.
    """
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        _say_no_locks(Path(file.name).parent, error.strerror)
    return True


@functools.cache  # once for each folder
def _say_no_locks(folder, reason):
    log.warning("%s: its file system has no locks (%s); let no second run write there", folder, reason)


def check_apart(outputs, inputs):
    """Raise `InputError` if a stage would replace a file or folder that it reads, or what lies in one."""
    read = [Path(path).resolve() for path in inputs]
    for path in outputs:
        written = Path(path).resolve()
        if any(written.is_relative_to(source) or source.is_relative_to(written) for source in read):
            raise InputError(f"{path}: is read, and would be replaced; give another name for --output")


def write_text(path, text):
    """Write a text file atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def in_braces(paths):
    """Words that bash expands to `paths`, as runs/{vae,gan}/{seed1,seed2}/metrics.json: many make no long command."""
    words = []
    for _, group in itertools.groupby((str(path).split("/") for path in paths), len):
        group = list(group)
        parts = [list(map(shlex.quote, dict.fromkeys(names))) for names in zip(*group, strict=True)]
        if math.prod(map(len, parts)) == len(group):  # every combination is there
            words.append("/".join(part[0] if len(part) == 1 else f"{{{','.join(part)}}}" for part in parts))
        else:
            words += [shlex.quote("/".join(names)) for names in group]
    return " ".join(words)


def write_json(path, content):
    """Write JSON atomically. Raises `ComputationError` for NaN and infinity, which are not JSON."""
    try:
        text = json.dumps(content, indent=2, allow_nan=False)
    except ValueError:
        raise ComputationError(f"{path}: not written, for a number in it is not finite; check the inputs") from None
    write_text(path, text + "\n")


def read_json(path, fields=()):
    """Read a JSON file that must have `fields` (see `check_fields`). Raises `InputError` for any other file.

    NaN, infinity and numbers beyond what a float can hold are refused: no stage writes them.
    """
    try:
        content = json.loads(
            Path(path).read_text(encoding="utf-8"), parse_constant=_finite, parse_float=_finite, parse_int=_whole
        )
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a JSON file ({error}); {REMAKE}") from None
    check_fields(path, content, fields)
    return content


def _finite(text):
    """The finite number that a text says."""
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text[:40]} is no finite number")
    return value


def _whole(text):
    """The whole number that a text says, if a float can hold it."""
    _finite(text)
    return int(text)


def check_fields(path, content, fields):
    """Raise `InputError` unless the JSON content of the file `path` has all `fields`, {"place/in/it": type}.

    A type in a list, as [int], means a list of one or more values of that type.
    """
    for field, kind in dict(fields).items():
        value = content
        for key in field.split("/"):
            if not isinstance(value, dict) or key not in value:
                raise InputError(f"{path}: {field!r} is missing; {REMAKE}")
            value = value[key]
        if not _is_of(value, kind):
            held = json.dumps(value)[:60]
            raise InputError(f"{path}: {field!r} is {held}; {REMAKE}")


def _is_of(value, kind):
    """Whether a value is of a type, as in `check_fields`. A truth value is no number."""
    if isinstance(kind, list):
        return isinstance(value, list) and value != [] and all(_is_of(each, kind[0]) for each in value)
    return isinstance(value, kind) and not isinstance(value, bool)


def read_field(content, field, kind, source):
    """The value at the dotted path `field` in `content`, the parsed JSON of the file `source`.

    kind: `str`, `int`, `list`, or `float` for any finite number. Raises `InputError` for any other value.
    """
    value = content
    for key in field.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    found = _is_of(value, NUMBER if kind is float else kind)
    if not found or (kind is float and not math.isfinite(value)):
        expected = {str: "a text", int: "a whole number", float: "a finite number", list: "a list"}[kind]
        held = "missing" if value is None else json.dumps(value)[:60]
        raise InputError(f"{source}: {field!r} is {held}; expected {expected}; {REMAKE}")
    return value


def digests(path):
    """{"bytes": size, "md5": hex, "sha256": hex} of a file, read once."""
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    with Path(path).open("rb") as file:
        while chunk := file.read(1 << 20):
            md5.update(chunk)
            sha256.update(chunk)
        return {"bytes": file.tell(), "md5": md5.hexdigest(), "sha256": sha256.hexdigest()}


def checksum(path):
    """SHA-256 of a file, as hexadecimal text."""
    return digests(path)["sha256"]


def kind_of_weights(path):
    """ "safetensors" or "torch" by how a file begins, an archive of PyTorch or a pickle; "" for any other file."""
    with open(path, "rb") as file:
        head = file.read(9)
    if head[8:] == b"{":  # eight bytes with the length of a JSON header, then the header
        return "safetensors"
    return "torch" if head.startswith(PYTORCH) else ""


def text_checksum(text):
    """SHA-256 of text, as hexadecimal text."""
    return hashlib.sha256(text.encode()).hexdigest()


def content_checksum(path):
    """SHA-256 of a file, or of a folder: of the names and contents of all files in it.

    Hidden files and folders are left out. Links to folders are followed in the folder itself alone, where the folders
    of classes lie, so that no circle of links is endless.
    """
    path = Path(path)
    if not path.is_dir():
        return checksum(path)
    found, listed = hashlib.sha256(), []
    linked = [each for each in path.iterdir() if each.is_symlink() and each.is_dir() and each.name[0] != "."]
    for root in (path, *linked):
        for place, folders, names in os.walk(root):
            folders[:] = [name for name in folders if name[0] != "."]
            listed += [Path(place, name) for name in names if name[0] != "."]
    for file in sorted(listed):
        if file.is_file():
            found.update(f"{file.relative_to(path)}\0{checksum(file)}\n".encode())
    return found.hexdigest()
