"""A web server on this machine that serves files from memory, and fails on demand."""

import contextlib
import email.utils
import hashlib
import re
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FileServer(ThreadingHTTPServer):
    """files: {path: bytes}. seen: [(path, Range header)]. asked: the headers of the last request.

    faults: what the next requests meet in turn: a status to answer, ("cut", n) to close or ("stall", n) to fall silent
    after n bytes, ("trickle", n) to send the rest byte by byte, {header: value} to send besides the right headers or in
    their place, or bytes to send for an answer.

    ranges: whether it knows parts of files. validator: the header that tells one version of a file from another, ETag,
    Last-Modified or None. heeds: whether it sends a part only of the version that If-Range names. modified: when the
    files changed, in seconds since 1970.
    """

    daemon_threads = True

    def __init__(self, certificate=None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.faults, self.seen, self.asked = {}, [], [], None
        self.ranges = self.heeds = True
        self.validator, self.modified = "ETag", 1e9
        self.ended = threading.Event()
        self.url = f"http{'s' if certificate else ''}://127.0.0.1:{self.server_port}"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True)

    def handle_error(self, request, client_address):
        """Say nothing: a client that breaks off is no fault of a test."""


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def version(self, body):
        """The value of the header `validator` for a file."""
        if self.server.validator == "Last-Modified":
            return email.utils.formatdate(self.server.modified, usegmt=True)
        return f'"{hashlib.sha256(body).hexdigest()}"'

    def do_GET(self):
        wanted = self.headers.get("Range")
        self.server.seen.append((self.path, wanted))
        self.server.asked = self.headers
        fault = self.server.faults.pop(0) if self.server.faults else None
        body = self.server.files.get(self.path)
        if isinstance(fault, bytes):
            return self.wfile.write(fault)
        if isinstance(fault, int) or body is None:
            return self.send_error(fault or 404)
        start, whole, headers = 0, len(body), {}
        same = self.headers.get("If-Range") in (None, self.version(body)) or not self.server.heeds
        if wanted and self.server.ranges and same:
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
            headers["Content-Range"] = f"bytes {start}-{whole - 1}/{whole}" if start < whole else f"bytes */{whole}"
        self.send_response(200 if not headers else 206 if start < whole else 416)
        if self.server.validator:
            headers[self.server.validator] = self.version(body)
        headers["Content-Length"] = str(max(whole - start, 0))
        for name, value in (headers | (fault if isinstance(fault, dict) else {})).items():
            self.send_header(name, value)
        self.end_headers()
        kind, count = fault if isinstance(fault, tuple) else ("all", whole)
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body[start : start + count])
            if kind == "stall":
                self.server.ended.wait(20)
            while kind == "trickle" and not self.server.ended.wait(0.02):
                self.wfile.write(body[start + count : start + count + 1])
                count += 1


@contextlib.contextmanager
def serving(certificate=None):
    """A running `FileServer`; with a file of a certificate and its key, over TLS."""
    with FileServer(certificate) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server
        server.ended.set()
        server.shutdown()
