import hashlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from file_server import serving
from stage import SCRIPTS, run_stage

CONTENT = np.random.default_rng(0).bytes(300_000)
SHA256, MD5 = hashlib.sha256(CONTENT).hexdigest(), hashlib.md5(CONTENT).hexdigest()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as server:
        server.files["/official/x.bin"] = CONTENT
        yield server


@pytest.fixture
def output(tmp_path):
    return tmp_path / "out" / "fetched.bin"


def fetch(output, *more, sha256=SHA256):
    return run_stage("fetch", "--output", output, *more, *(("--sha256", sha256) if sha256 else ()))


def arrived(done, output):
    assert done.returncode == 0, done.stderr
    assert output.read_bytes() == CONTENT
    assert list(output.parent.iterdir()) == [output]


def refused(done, output, *words):
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("fetch.py: error: ") and "Traceback" not in done.stderr
    for word in words:
        assert word in last
    assert not output.parent.exists() or not any(output.parent.iterdir())


def test_official_address(server, output):
    done = fetch(output, "--url", server.url + "/official/x.bin", "--md5", MD5.upper(), "--bytes", len(CONTENT))
    arrived(done, output)
    assert "100%" in done.stderr and "B/s" in done.stderr  # the progress bar and its rate
    assert "complete, and as expected" in done.stderr


def test_already_there_asks_no_one(server, output):
    output.parent.mkdir()
    output.write_bytes(CONTENT)
    done = fetch(output, "--url", server.url + "/official/x.bin")
    arrived(done, output)
    assert "already there" in done.stderr and server.seen == []


def test_wrong_file_in_place_is_replaced(server, output):
    output.parent.mkdir()
    output.write_bytes(b"old")
    done = fetch(output, "--url", server.url + "/official/x.bin")
    arrived(done, output)
    assert f"sha256 is {hashlib.sha256(b'old').hexdigest()}, expected {SHA256}; fetching it again" in done.stderr


def test_mirrors_come_first_in_their_order(server, output, tmp_path):
    (tmp_path / "empty").mkdir()
    server.files["/mirror/x.bin"] = CONTENT
    mirrors = (tmp_path / "empty", server.url + "/mirror")
    done = fetch(output, "--url", server.url + "/official/x.bin", "--mirror", *mirrors)
    arrived(done, output)
    assert f"{tmp_path}/empty/x.bin: No such file or directory" in done.stderr
    assert [path for path, _ in server.seen] == ["/mirror/x.bin"]


@pytest.mark.parametrize("kind", ["folder", "relative", "file://"])
def test_local_mirror_needs_no_network(output, tmp_path, kind):
    folder = tmp_path / "a folder, 100% é"
    folder.mkdir()
    (folder / "x.bin").write_bytes(CONTENT)
    mirror = {"folder": folder, "relative": folder.name, "file://": folder.as_uri()}[kind]
    done = run_stage(
        *("fetch", "--url", "http://127.0.0.1:1/x.bin", "--mirror", mirror, "--output", output, "--sha256", SHA256),
        cwd=tmp_path,
    )
    arrived(done, output)


def test_wrong_mirror_is_passed_over(server, output, tmp_path):
    (tmp_path / "x.bin").write_bytes(b"something else")
    done = fetch(output, "--url", server.url + "/official/x.bin", "--mirror", tmp_path)
    arrived(done, output)
    assert f"expected {SHA256}" in done.stderr


def test_no_checksum_is_said(server, output):
    done = fetch(output, "--url", server.url + "/official/x.bin", sha256=None)
    arrived(done, output)
    assert "no checksum is known" in done.stderr and "unchecked" in done.stderr


def test_busy_server_and_cut_connection(server, output):
    server.faults = [503, ("cut", 200_000)]
    done = fetch(output, "--url", server.url + "/official/x.bin")
    arrived(done, output)
    assert "HTTP 503 Service Unavailable; try 2 of 5 in 1 s" in done.stderr
    assert server.seen[2][1] == "bytes=200000-"


def test_every_failure_is_listed_with_the_remedy(server, output, tmp_path):
    server.files["/wrong/x.bin"] = b"wrong"
    server.faults = [403]
    urls = [server.url + "/official/x.bin", server.url + "/gone/x.bin", server.url + "/wrong/x.bin"]
    urls.append("http://127.0.0.1:1/x.bin")
    done = fetch(output, "--url", *urls, "--mirror", tmp_path, "--retries", 0)
    refused(
        done,
        output,
        f"{tmp_path}/x.bin (No such file or directory); ",
        f"{urls[0]} (HTTP 403 Forbidden); ",
        f"{urls[1]} (HTTP 404 Not Found); ",
        f"{urls[2]} (sha256 is {hashlib.sha256(b'wrong').hexdigest()}, expected {SHA256}); ",
        f"{urls[3]} (Connection refused); ",
        "put x.bin into a folder and name that under data.mirrors in the configuration",
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--url", "ftp://example.org/x"], "ftp:// are not known"),
        (["--url", "http://127.0.0.1:1/x", "--mirror", "file://host/folder"], "a file:// address with a host (host)"),
        (["--url", "http://127.0.0.1:1/x", "--sha256", "abc"], "expected 64 hexadecimal digits"),
        (["--url", "http://127.0.0.1:1/x", "--bytes", "0"], "give 1 or more"),
        (["--url", "http://127.0.0.1:1/x", "--timeout", "86401"], "give 86400 or less"),
        (["--url", "http://127.0.0.1:1/x", "--mirror", "http://[::1/"], "no address that can be read"),
    ],
)
def test_bad_options_are_refused(output, options, words):
    refused(fetch(output, *options, sha256=None), output, words)


def test_passwords_are_not_printed(server, output):
    url = server.url.replace("//", "//user:secret@") + "/official/x.bin?key=secret"
    server.faults = [503]
    failed = fetch(output, "--url", url, "--retries", 1)
    refused(failed, output, f"{server.url}/official/x.bin?... (HTTP 404 Not Found)")
    done = fetch(output, "--url", url.partition("?")[0], "--mirror", url)
    arrived(done, output)
    assert "secret" not in failed.stderr + done.stderr


def test_folder_that_cannot_be_written(server, tmp_path):
    (tmp_path / "file").write_text("in the way")
    done = fetch(tmp_path / "file" / "x.bin", "--url", server.url + "/official/x.bin")
    assert done.returncode == 2 and "cannot be written" in done.stderr.splitlines()[-1]
    assert (tmp_path / "file").read_text() == "in the way"


def test_two_runs_with_one_folder_fetch_a_file_once(server, output):
    server.faults = [("stall", 200_000)]
    words = ["--url", server.url + "/official/x.bin", "--sha256", SHA256, "--timeout", "2"]
    command = [sys.executable, SCRIPTS / "fetch.py", "--output", output, *words]
    first, second = (subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2))
    said = first.communicate()[1] + second.communicate()[1]
    assert (first.returncode, second.returncode) == (0, 0), said
    assert "another process fetches it; waiting" in said and "already there" in said
    assert len(server.seen) == 2 and server.seen[1][1].startswith("bytes=")  # the one that stalled goes on
    assert output.read_bytes() == CONTENT and list(output.parent.iterdir()) == [output]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 75), (signal.SIGKILL, -9)])
def test_killed_run_goes_on(server, output, number, code):
    server.faults = [("stall", 200_000)]
    command = [sys.executable, SCRIPTS / "fetch.py", "--output", output, "--sha256", SHA256]
    command += ["--url", server.url + "/official/x.bin"]
    partial = output.with_name("fetched.bin.partial")
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 20
        while not (partial.exists() and partial.stat().st_size > 100_000) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(number)
        message = process.stderr.read()
    assert process.returncode == code
    assert code < 0 or f"kept in {partial}" in message.splitlines()[-1]
    assert not output.exists()
    size = partial.stat().st_size
    arrived(run_stage(*map(str, ["fetch", *command[2:]])), output)
    assert server.seen[-1] == ("/official/x.bin", f"bytes={size}-")
