import base64
import functools
import gzip
import hashlib
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from file_server import serving
from genlab import InputError
from genlab.data import download, transfer

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
    assert starts == [300_000, 600_000]


def test_silence_is_a_transient_failure(server, waits, target):
    server.faults = [("stall", 500_000)]
    fetch(target, [server.url + "/a/file.bin"], timeout=0.3)
    assert len(server.seen) == 2 and only(target)


def broken_off(server, target, count=500_000):
    """Leave a partial download of `count` bytes, as a killed run does."""
    server.faults = [("cut", count)]
    with pytest.raises(InputError):
        fetch(target, [server.url + "/a/file.bin"], retries=0)
    partial = target.with_name("file.bin.partial")
    assert partial.stat().st_size == count
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
    server.validator = None
    broken_off(server, target)
    fetch(target, [server.url + "/a/file.bin"])
    assert server.seen == [("/a/file.bin", None)] and only(target)


@pytest.mark.parametrize("validator", ["ETag", "Last-Modified"])
@pytest.mark.parametrize("heeds", [True, False])
def test_file_changed_since_is_not_joined(server, waits, target, validator, heeds):
    server.validator, server.heeds = validator, heeds
    server.files["/a/file.bin"] = OTHER
    broken_off(server, target)
    server.files["/a/file.bin"] = CONTENT
    server.modified += 1
    fetch(target, [server.url + "/a/file.bin"], expected={})
    assert only(target) and len(server.seen) == (1 if heeds else 2)


def test_file_grown_since_is_not_joined(server, waits, target):
    """Its server forgets that it has changed."""
    server.validator, server.heeds = "Last-Modified", False
    server.files["/a/file.bin"] = OTHER[:-1]
    broken_off(server, target)
    server.files["/a/file.bin"] = CONTENT
    fetch(target, [server.url + "/a/file.bin"], expected={})
    assert only(target) and len(server.seen) == 2


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
        transfer._store([b"x"], partial, 0, 1, 1)


def test_folder_that_cannot_be(server, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot be written"):
        fetch(tmp_path / "file" / "file.bin", [server.url + "/a/file.bin"])


def test_connection_that_drops_at_every_byte_goes_on_there(server, waits, target):
    server.files["/a/file.bin"] = short = CONTENT[:60]
    for count in range(60):
        server.faults = [("cut", count)]
        fetch(target, [server.url + "/a/file.bin"], expected={"md5": hashlib.md5(short).hexdigest()})
        assert target.read_bytes() == short and list(target.parent.iterdir()) == [target]
        assert server.seen[-1][1] == (f"bytes={count}-" if count else None)
        target.unlink()


def test_a_drip_is_a_transient_failure(server, target):
    server.faults = [("trickle", 500_000)]
    fetch(target, [server.url + "/a/file.bin"], timeout=0.3)
    assert len(server.seen) == 2 and 500_000 < int(server.seen[1][1][6:-1]) < 501_000 and only(target)


@pytest.mark.parametrize("length", [len(CONTENT) + 1, 10**30, "-5", "many", "1000000, 1000000"])
def test_a_length_that_is_a_lie_or_no_number_changes_nothing(server, waits, target, length):
    server.faults = [{"Content-Length": str(length)}] * 2
    url = server.url + "/a/file.bin"
    fetch(target, [url, url + "?"])
    assert only(target)


@pytest.mark.parametrize(
    ("length", "words"),
    [
        ("999999", "bytes is 999999, expected 1000000"),
        ("0" * 20, "bytes is 0, expected 1000000"),
        ("5, 7", "multiple unmatching values"),
    ],
)
def test_a_length_that_is_too_short_gives_no_file(server, waits, target, length, words):
    server.faults = [{"Content-Length": length}]
    with pytest.raises(InputError, match=words):
        fetch(target, [server.url + "/a/file.bin"])
    assert list(target.parent.iterdir()) == []


def test_a_server_that_sends_without_end_is_left(server, waits, target, monkeypatch):
    monkeypatch.setattr(transfer, "MOST", 300_000)
    for expected, most in ({"bytes": 500_000}, 500_000), ({}, 300_000):
        with pytest.raises(InputError, match=f"more than {most} bytes"):
            fetch(target, [server.url + "/a/file.bin"], expected=expected)
        assert list(target.parent.iterdir()) == []
    (target.parent / "endless").symlink_to("/dev/zero")
    with pytest.raises(InputError, match=r"endless \(no regular file\)"):
        fetch(target, [str(target.parent / "endless")])


@pytest.mark.parametrize(
    "header",
    [
        {"Content-Range": "bytes 400000-999999/1000000"},
        {"Content-Range": "bytes 500000-999999/*"},
        {"Content-Range": "bytes 500000-999999/900000"},
        {"Content-Range": "bytes"},
        {"Content-Range": "bytes 500000-" + "9" * 5000 + "/" + "9" * 5000},
        {"Content-Encoding": "gzip"},
    ],
)
def test_a_part_that_does_not_continue_is_not_joined(server, waits, target, header):
    broken_off(server, target)
    server.faults = [header]
    fetch(target, [server.url + "/a/file.bin"], expected={})
    assert [wanted for _, wanted in server.seen] == ["bytes=500000-", None] and only(target)


def answer(status="200 OK", body=b"", **headers):
    """The bytes of an answer of HTTP."""
    lines = [f"HTTP/1.1 {status}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def test_a_part_that_ends_early_is_not_the_file(server, waits, target):
    broken_off(server, target)
    part = {"Content_Range": "bytes 500000-500009/1000000", "Content_Length": 10}
    server.faults = [answer("206 Partial Content", CONTENT[500_000:500_010], **part)]
    fetch(target, [server.url + "/a/file.bin"], expected={})
    assert [wanted for _, wanted in server.seen] == ["bytes=500000-", "bytes=500010-"] and only(target)


def test_a_part_that_is_longer_than_announced_is_not_the_file(server, waits, target):
    broken_off(server, target)
    part = {"Content_Range": "bytes 500000-999999/1000000"}
    server.faults = [answer("206 Partial Content", CONTENT[500_000:] + b"more", **part)]
    fetch(target, [server.url + "/a/file.bin"], expected={})
    assert [wanted for _, wanted in server.seen] == ["bytes=500000-", None] and only(target)


def test_a_part_that_nobody_asked_for_is_not_put_behind_what_is_there(server, waits, target):
    broken_off(server, target)
    server.files["/b/file.bin"] = CONTENT
    whole = {"Content_Range": "bytes 0-999999/1000000", "Content_Length": 1_000_000}
    server.faults = [answer("206 Partial Content", CONTENT, **whole)]
    fetch(target, [server.url + "/b/file.bin"], expected={})
    assert len(server.seen) == 2 and only(target)


def test_what_is_known_of_a_part_may_be_damaged(server, target):
    for text in "", "{", "[]", "null", "{}", '{"address": 1, "validator": null}', "\udcff":
        partial = broken_off(server, target)
        partial.with_name("file.bin.partial.json").write_text(text, errors="surrogateescape")
        fetch(target, [server.url + "/a/file.bin"])
        assert server.seen == [("/a/file.bin", None)] and only(target)
        target.unlink()


PAGE = b"\xef\xbb\xbf\n<!DOCTYPE HTML>\n<title>Please log in</title>"


def test_a_web_page_with_the_status_of_success_is_named_and_never_kept(server, waits, target):
    server.files["/login/file.bin"] = PAGE
    for expected in {}, EXPECTED, {"bytes": len(PAGE)}:
        with pytest.raises(InputError, match=r"login/file\.bin \(a web page, not the file"):
            fetch(target, [server.url + "/login/file.bin"], expected=expected)
        assert list(target.parent.iterdir()) == []
        fetch(target, [server.url + "/a/file.bin"], [server.url + "/login"], expected=expected and EXPECTED)
        assert only(target)
        target.unlink()


def test_a_web_page_that_is_the_file_is_kept(server, target):
    server.files["/a/file.bin"] = PAGE
    fetch(target, [server.url + "/a/file.bin"], expected={"sha256": hashlib.sha256(PAGE).hexdigest()})
    assert target.read_bytes() == PAGE


def test_a_file_that_comes_compressed_is_the_same(server, target):
    packed = gzip.compress(CONTENT)
    server.faults = [answer(body=packed[:-9], Content_Encoding="gzip", Content_Length=len(packed), ETag='"x"')]
    server.faults += [answer(body=packed, Content_Encoding="gzip", Content_Length=len(packed), ETag='"x"')]
    fetch(target, [server.url + "/a/file.bin"])
    assert [wanted for _, wanted in server.seen] == [None, None] and only(target)
    target.unlink()
    server.faults = [answer(body=b"no gzip", Content_Encoding="gzip", Content_Length=7)]
    with pytest.raises(InputError, match="incorrect header check"):
        fetch(target, [server.url + "/a/file.bin"])
    assert not target.exists() and len(server.seen) == 3


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("/a/file.bin", "Exceeded 30 redirects"),
        ("ftp://user:secret@127.0.0.1/x", "No connection adapters"),
        ("file:///etc/hostname", "No connection adapters"),
        ("http://user:secret@[::1/x", "Invalid IPv6"),
        ("http://user:secret@.../x", ""),
    ],
)
def test_a_way_in_circles_or_to_nowhere_ends(server, waits, target, location, words):
    server.faults = [answer("302 Found", Location=location, Content_Length=0)] * 40
    with pytest.raises(InputError, match=f"file.bin \\({words}") as error:
        fetch(target, [server.url + "/a/file.bin"])
    assert waits == [] and "secret" not in str(error.value) and list(target.parent.iterdir()) == []


def test_a_way_to_another_address_is_followed(server, target):
    server.files["/b/x"] = CONTENT
    server.faults = [answer("302 Found", Location="/b/x", Content_Length=0)]
    fetch(target, [server.url + "/a/file.bin"])
    assert [path for path, _ in server.seen] == ["/a/file.bin", "/b/x"] and only(target)


@pytest.mark.parametrize(
    "junk",
    [
        b"\0",
        b"\x16\x03\x01\x02\0" * 99,
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 200,
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000,
        answer(body=b"zz\r\n", Transfer_Encoding="chunked"),
        answer(body=b"-5\r\n", Transfer_Encoding="chunked"),
        answer("503 \x1b[2J\x07" + "x" * 2000, Content_Length=0),
    ],
)
def test_junk_is_a_transient_failure_and_one_printable_line(server, waits, target, caplog, junk):
    server.faults = [junk] * 3
    with pytest.raises(InputError) as error:
        fetch(target, [server.url + "/a/file.bin"], retries=2)
    assert waits == [1, 2] and not target.exists()
    assert str(error.value).isprintable() and len(str(error.value)) < 1000
    assert all(record.getMessage().isprintable() for record in caplog.records)
    fetch(target, [server.url + "/a/file.bin"])
    assert only(target)


def test_many_at_once_fetch_a_file_once(server, target, monkeypatch):
    pause = time.sleep
    monkeypatch.setattr(download.time, "sleep", lambda seconds: pause(0.01))
    server.faults = [("cut", 1000), ("cut", 50_000), 503, ("cut", 500_000)]
    with ThreadPoolExecutor(8) as threads:
        for done in [threads.submit(fetch, target, [server.url + "/a/file.bin"]) for _ in range(8)]:
            done.result()
    assert len(server.seen) == 5 and only(target)


def test_of_many_at_once_none_keeps_a_bad_file(server, target, monkeypatch):
    pause = time.sleep
    monkeypatch.setattr(download.time, "sleep", lambda seconds: pause(0.01))
    server.files["/a/file.bin"] = OTHER
    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(fetch, target, [server.url + "/a/file.bin"]) for _ in range(4)]:
            assert EXPECTED["sha256"] in str(done.exception())
    assert len(server.seen) == 4 and list(target.parent.iterdir()) == []


@pytest.mark.parametrize("fault", [404, 503, ("cut", 1000), {"Content-Length": "10"}, b"junk", None])
def test_a_password_is_sent_and_told_to_nobody(server, waits, target, caplog, capfd, fault):
    caplog.set_level("DEBUG")
    url = server.url.replace("//", "//user:secret@") + "/a/file.bin?token=secret"
    server.files["/a/file.bin?token=secret"] = CONTENT
    server.faults = [fault] * 2
    told = []
    discard = transfer.discard
    notes = target.with_name("file.bin.partial.json")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            transfer, "discard", lambda path: told.append(notes.exists() and notes.read_text()) or discard(path)
        )
        try:
            fetch(target, [url], [server.url.replace("//", "//user:secret@")], retries=1)
        except InputError as error:
            told.append(str(error))
    assert server.asked["Authorization"] == "Basic " + base64.b64encode(b"user:secret").decode()
    own = [record.getMessage() for record in caplog.records if record.name == "genlab"]
    left = [path.read_text(errors="replace") for path in target.parent.iterdir() if path.name.endswith(".json")]
    text = "\n".join([*map(str, told), *own, *left, *capfd.readouterr()])
    assert "127.0.0.1" in text and "secret" not in text and "user" not in text


@pytest.fixture
def certificate(tmp_path):
    """A file of a certificate for 127.0.0.1 that only its own key has signed, and of the key."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=x"
    words += " -addext subjectAltName=IP:127.0.0.1 -keyout key -out own"
    subprocess.run(words, shell=True, cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "both.pem").write_text((tmp_path / "own").read_text() + (tmp_path / "key").read_text())
    return tmp_path / "both.pem"


def test_a_certificate_that_nobody_trusts_is_refused(certificate, waits, target, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    with serving(certificate) as server:
        server.files["/a/file.bin"] = CONTENT
        for expected in {}, EXPECTED:
            with pytest.raises(InputError, match=r"its certificate is not trusted: self-signed certificate\)"):
                fetch(target, [server.url + "/a/file.bin"], expected=expected)
        assert server.seen == [] and waits == [] and list(target.parent.iterdir()) == []
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))  # the check of the check
        fetch(target, [server.url + "/a/file.bin"])
        assert only(target)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
        with pytest.raises(InputError, match=r"its certificate is not trusted: Hostname mismatch"):
            fetch(target.with_name("x"), [server.url.replace("127.0.0.1", "localhost") + "/a/file.bin"])


def test_a_way_from_https_to_http_is_refused(certificate, server, target, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with serving(certificate) as secure:
        secure.files["/file.bin"] = b""
        secure.faults = [answer("302 Found", Location=server.url + "/a/file.bin", Content_Length=0)]
        with pytest.raises(InputError, match=r"it leads from https:// to http://"):
            fetch(target, [secure.url + "/file.bin"])
    assert list(target.parent.iterdir()) == []


def test_an_address_of_https_where_http_is_spoken_is_one_clear_failure(server, waits, target):
    with pytest.raises(InputError, match=r"WRONG_VERSION_NUMBER"):
        fetch(target, [server.url.replace("http:", "https:") + "/a/file.bin"])
    assert waits == []
