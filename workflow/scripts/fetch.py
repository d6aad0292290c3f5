"""Fetch one file from the first address that has it, and check it.

Mirrors are tried first, then the official addresses. A mirror is a folder, a file:// address or an
http(s):// address that holds the file under its official name. An interrupted download resumes where
it stopped (FILE.partial). A file with a wrong checksum or size never gets its final name.

example:
  python workflow/scripts/fetch.py --output resources/data.amat --url http://example.org/data.amat
"""

import argparse
import re
import signal
from pathlib import Path

from genlab import Interrupted, cli


def hexadecimal(digits):
    """argparse type: a checksum with this many hexadecimal digits."""

    def checksum(text):
        if not re.fullmatch(f"[0-9a-fA-F]{{{digits}}}", text):
            raise argparse.ArgumentTypeError(f"{text!r} is no checksum; expected {digits} hexadecimal digits")
        return text.lower()

    return checksum


def seconds(text):
    """argparse type: a time to wait, at most a day."""
    if (value := cli.positive(text)) > 86400:
        raise argparse.ArgumentTypeError(f"{value} is too large; give 86400 or less")
    return value


def parser():
    result = cli.parser(__doc__)
    result.add_argument("--output", type=Path, required=True, metavar="FILE", help="where to put the file")
    result.add_argument(
        "--url", nargs="+", required=True, metavar="ADDRESS", help="official addresses of the file, tried in order"
    )
    result.add_argument(
        "--mirror", nargs="*", default=[], metavar="BASE", help="folders or base addresses to try first"
    )
    result.add_argument("--sha256", type=hexadecimal(64), metavar="HEX", help="SHA-256 that the file must have")
    result.add_argument("--md5", type=hexadecimal(32), metavar="HEX", help="MD5 that the file must have")
    result.add_argument("--bytes", type=cli.positive, metavar="N", help="size that the file must have, in bytes")
    result.add_argument(
        "--retries", type=cli.natural, default=4, metavar="N", help="further tries for each address (default: 4)"
    )
    result.add_argument(
        "--timeout", type=seconds, default=30, metavar="S", help="seconds to wait for an answer (default: 30)"
    )
    return result


def main(options):
    from genlab.data import download

    def stop(number, frame):
        raise Interrupted(f"what has arrived is kept in {options.output}.partial; the same command resumes from there")

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, stop)
    expected = {"bytes": options.bytes, "md5": options.md5, "sha256": options.sha256}
    download.fetch(
        options.output,
        options.url,
        options.mirror,
        expected={key: value for key, value in expected.items() if value is not None},
        retries=options.retries,
        timeout=options.timeout,
    )


if __name__ == "__main__":
    cli.run(main, parser())
