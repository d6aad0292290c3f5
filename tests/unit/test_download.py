import functools
import hashlib
from pathlib import Path

import numpy as np
import pytest
from file_server import serving
from genlab import InputError
from genlab.data import download

CONTENT = np.random.default_rng(0).bytes(1_000_000)
EXPECTED = {"bytes": len(CONTENT), "sha256": hashlib.sha256(CONTENT).hexdigest()}
OTHER = CONTENT[::-1]


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as server:
        server.files["/a/file.bin"] = CONTENT
        yield server


@pytest.fixture
def waits(monkeypatch):
    """The seconds that were waited, without waiting."""
    result = []
    monkeypatch.setattr(download.time, "sleep", result.append)
    return result


@pytest.fixture
def target(tmp_path):
    return tmp_path / "new folder" / "file.bin"


fetch = functools.partial(download.fetch, expected=EXPECTED, timeout=5)


def only(target):
    """The target is right, and nothing is left beside it."""
    return target.read_bytes() == CONTENT and list(target.parent.iterdir()) == [target]


def test_addresses_mirrors_first_by_base_name():
    url = "https://example.org/some/where/a%20file.bin?key=1"
    assert download.addresses([url], ["/data/", "relative", "file:///srv/x", "http://mirror:8000/y/"]) == [
        "/data/a file.bin",
        "relative/a file.bin",
        "file:///srv/x/a%20file.bin",
        "http://mirror:8000/y/a%20file.bin",
        url,
    ]
    assert download.addresses(["http://h/a/x", "http://i/x", "http://h/a/x"], ["/m"]) == [
        "/m/x",
        "http://h/a/x",
        "http://i/x",
    ]


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("ftp://example.org/x", "ftp://"),
        ("s3://bucket/x", "s3://"),
        ("file://host/x", "three slashes"),
        ("http:///x", "names no host"),
        ("http://example.org/", "names no file"),
    ],
)
def test_addresses_refused(address, words):
    with pytest.raises(InputError, match=words):
        download.addresses([address])
    if "no file" not in words:
        with pytest.raises(InputError, match=words):
            download.addresses(["http://example.org/x"], [address])


def test_transient_failures_are_retried_with_growing_waits(server, waits, target):
    server.faults = [503, 429, ("cut", 0), 500]
    fetch(target, [server.url + "/a/file.bin"], retries=4)
    assert waits == [1, 2, 4, 8] and only(target)


def test_retries_are_counted(server, waits, target):
    server.faults = [503] * 3
    with pytest.raises(InputError, match="HTTP 503"):
        fetch(target, [server.url + "/a/file.bin"], retries=2)
    assert len(server.seen) == 3 and waits == [1, 2]
    assert not target.exists()


@pytest.mark.parametrize("status", [403, 404])
def test_permanent_failures_are_not_retried(server, waits, target, status):
    server.faults = [status]
    fetch(target, [server.url + "/gone/file.bin", server.url + "/a/file.bin"])
    assert [path for path, _ in server.seen] == ["/gone/file.bin", "/a/file.bin"]
    assert waits == [] and only(target)


def test_cut_connection_goes_on_where_it_stopped(server, waits, target):
    server.faults = [("cut", 300_000), ("cut", 300_000)]
    fetch(target, [server.url + "/a/file.bin"])
    ranges = [wanted for _, wanted in server.seen]
    starts = [int(wanted.removeprefix("bytes=").rstrip("-")) for wanted in ranges[1:]]
    assert ranges[0] is None and waits == [1, 2] and only(target)
    assert 300_000 - download.CHUNK <= starts[0] <= 300_000
    assert starts[0] + 300_000 - download.CHUNK <= starts[1] <= starts[0] + 300_000


def test_silence_is_a_transient_failure(server, waits, target):
    server.faults = [("stall", 500_000)]
    fetch(target, [server.url + "/a/file.bin"], timeout=0.3)
    assert len(server.seen) == 2 and only(target)


def broken_off(server, target, count=500_000):
    """Leave a partial download of about `count` bytes, as a killed run does."""
    server.faults = [("cut", count)]
    with pytest.raises(InputError):
        fetch(target, [server.url + "/a/file.bin"], retries=0)
    partial = target.with_name("file.bin.partial")
    assert count - download.CHUNK <= partial.stat().st_size <= count
    server.seen.clear()
    return partial


def test_next_run_goes_on(server, target):
    start = broken_off(server, target).stat().st_size
    fetch(target, [server.url + "/a/file.bin"])
    assert server.seen == [("/a/file.bin", f"bytes={start}-")] and only(target)


def test_server_that_ignores_ranges_starts_again(server, target):
    broken_off(server, target)
    server.ranges = False
    fetch(target, [server.url + "/a/file.bin"])
    assert len(server.seen) == 1 and only(target)


def test_server_without_validators_starts_again(server, target):
    server.validators = False
    broken_off(server, target)
    fetch(target, [server.url + "/a/file.bin"])
    assert server.seen == [("/a/file.bin", None)] and only(target)


def test_file_changed_since_is_not_joined(server, target):
    server.files["/a/file.bin"] = OTHER
    broken_off(server, target)
    server.files["/a/file.bin"] = CONTENT
    fetch(target, [server.url + "/a/file.bin"], expected={})
    assert only(target)


def test_partial_from_another_address_is_not_joined(server, target):
    broken_off(server, target)
    server.files["/b/file.bin"] = CONTENT
    fetch(target, [server.url + "/b/file.bin"])
    assert server.seen == [("/b/file.bin", None)] and only(target)


def test_complete_partial_needs_only_its_name(server, target):
    partial = broken_off(server, target)
    partial.write_bytes(CONTENT)
    fetch(target, [server.url + "/a/file.bin"], retries=0)
    assert server.seen == [("/a/file.bin", f"bytes={len(CONTENT)}-")] and only(target)


def test_partial_longer_than_the_file_starts_again(server, waits, target):
    partial = broken_off(server, target)
    partial.write_bytes(CONTENT + b"more")
    fetch(target, [server.url + "/a/file.bin"])
    assert server.seen[-1] == ("/a/file.bin", None) and only(target)


def test_damaged_partial_starts_again(server, waits, target):
    partial = broken_off(server, target)
    partial.write_bytes(OTHER[:500_000])
    fetch(target, [server.url + "/a/file.bin"])
    assert server.seen == [("/a/file.bin", "bytes=500000-"), ("/a/file.bin", None)] and only(target)


@pytest.mark.parametrize("wrong", [OTHER, CONTENT[:-1], b""])
def test_wrong_content_never_gets_the_name(server, waits, target, wrong):
    server.files["/wrong/file.bin"] = wrong
    with pytest.raises(InputError, match=EXPECTED["sha256"]) as caught:
        fetch(target, [server.url + "/wrong/file.bin"])
    assert hashlib.sha256(wrong).hexdigest() in str(caught.value)
    assert len(server.seen) == 1 and list(target.parent.iterdir()) == []


@pytest.mark.parametrize("wrong", [OTHER, CONTENT[:-1], b""])
def test_after_a_mirror_with_wrong_content_the_next_address_is_tried(server, waits, target, wrong):
    server.files["/wrong/file.bin"] = wrong
    fetch(target, [server.url + "/a/file.bin"], [server.url + "/wrong"])
    assert [path for path, _ in server.seen] == ["/wrong/file.bin", "/a/file.bin"] and only(target)


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ({"md5": "0" * 32}, f"md5 is {hashlib.md5(CONTENT).hexdigest()}, expected {'0' * 32}"),
        ({"bytes": 1_000_001}, "bytes is 1000000, expected 1000001"),
    ],
)
def test_md5_and_size_are_checked(server, target, expected, message):
    with pytest.raises(InputError, match=message):
        fetch(target, [server.url + "/a/file.bin"], expected=expected)


def test_a_file_of_the_right_md5_is_kept(server, target):
    fetch(target, [server.url + "/a/file.bin"], expected={"md5": hashlib.md5(CONTENT).hexdigest()})
    assert only(target)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_full_disk_is_one_clear_line(tmp_path):
    partial = tmp_path / "file.bin.partial"
    partial.symlink_to("/dev/full")
    with pytest.raises(InputError, match=r"file\.bin\.partial: cannot be written \(No space left on device\)"):
        download._store([b"x"], partial, 0, 1)


def test_folder_that_cannot_be(server, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot be written"):
        fetch(tmp_path / "file" / "file.bin", [server.url + "/a/file.bin"])
