import pytest
from genlab import InputError
from genlab.data import addresses

URL = "https://example.org/some/where/a%20file.bin?key=1"


def test_mirrors_come_first_by_base_name():
    assert addresses.candidates([URL], ["/data/", "relative", "file:///srv/x", "http://mirror:8000/y/"]) == [
        "/data/a file.bin",
        "relative/a file.bin",
        "file:///srv/x/a%20file.bin",
        "http://mirror:8000/y/a%20file.bin",
        URL,
    ]
    assert addresses.candidates(["http://h/a/x", "http://i/x", "http://h/a/x"], ["/m"]) == [
        "/m/x",
        "http://h/a/x",
        "http://i/x",
    ]


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("ftp://example.org/x", "^ftp://example.org/x.*: addresses of kind ftp:// are not known"),
        ("s3://bucket/x", "s3://"),
        ("javascript://example.org/x", "javascript://"),
        ("file://host/x", "with a host .host.; write file:///, three slashes"),
        ("http:///x", "names no host"),
        ("http://:8000/x", "names no host"),
        ("http://example.org/", "names no file"),
        ("http://example.org/a/..", "names no file"),
        ("http://example.org/a/%2e%2e", "names no file"),
        ("..", "names no file"),
        ("http://[::1/x", "no address that can be read .Invalid IPv6 URL"),
        ("http://example.org:99999/x", "no address that can be read .Port out of range"),
        ("http://example.org:many/x", "no address that can be read .Port could not be cast"),
        ("http://example org/x", "no address that can be read"),
        ("http://example.org/x%00.bin", "no address that can be read"),
        ("file:///tmp/x%00", "no address that can be read"),
        ("folder\0/x", r"^folder\\x00/x.*: no address that can be read"),
    ],
)
def test_what_is_refused(address, words):
    with pytest.raises(InputError, match=words) as error:
        addresses.candidates([address])
    assert str(error.value).isprintable()
    if "no file" not in words:
        with pytest.raises(InputError, match=words):
            addresses.candidates(["http://example.org/x"], [address])


@pytest.mark.parametrize(
    "address",
    [
        "ftp://user:secret@example.org/x",
        "file://user:secret@host/x",
        "http://user:secret@/x",
        "http://user:secret@example.org/",
        "http://user:secret@example.org:many/x",
        "http://user:sec/secret@example.org/x",
        "http://user:sec?secret@example.org/x",
        "http://user:sec#secret@example.org/x",
        "http://user:sec secret@example.org/x",
        "http://user:sec\tsecret@example.org/x",
        "http://user:sec[secret@example.org/x",
        "ftp://example.org/x?key=secret",
    ],
)
def test_what_is_refused_keeps_its_secrets(address):
    with pytest.raises(InputError) as error:
        addresses.candidates([address])
    assert "sec" not in str(error.value) and "user" not in str(error.value)
    assert "example.org" in str(error.value) or "host" in str(error.value).lower()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://user:secret@example.org/x", "http://example.org/x"),
        ("https://secret@example.org:8000/x?token=secret", "https://example.org:8000/x?..."),
        ("http://u:p@ss@example.org/x", "http://example.org/x"),
        (
            "Failed to parse: http://u:secret@h/y (and https://u:secret@i/)",
            "Failed to parse: http://h/y (and https://i/)",
        ),
        ("http://example.org/picture@2x.png", "http://example.org/picture@2x.png"),
        ("/data/me@home/x?", "/data/me@home/x?"),
        ("a\x1b[2J\r\nb\u202ec", "a\\x1b[2J b\\u202ec"),
        ("é" * 1000, "é" * 300),
    ],
)
def test_what_is_shown(text, expected):
    assert addresses.shown(text) == expected
