"""A web server on this machine that serves files from memory, and fails on demand."""

import contextlib
import hashlib
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FileServer(ThreadingHTTPServer):
    """files: {path: bytes}. faults: what the next requests meet, in order: a status to answer, or
    ("cut", n) to close, or ("stall", n) to fall silent, after n bytes. seen: [(path, Range header)].
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.faults, self.seen = {}, [], []
        self.ranges = self.validators = True
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        wanted = self.headers.get("Range")
        self.server.seen.append((self.path, wanted))
        fault = self.server.faults.pop(0) if self.server.faults else None
        body = self.server.files.get(self.path)
        if isinstance(fault, int) or body is None:
            return self.send_error(fault or 404)
        start, whole = 0, len(body)
        tag = f'"{hashlib.sha256(body).hexdigest()}"'
        if wanted and self.server.ranges and self.headers.get("If-Range", tag) == tag:
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
            if start >= whole:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{whole}")
                self.send_header("Content-Length", "0")
                return self.end_headers()
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
        else:
            self.send_response(200)
        if self.server.validators:
            self.send_header("ETag", tag)
        self.send_header("Content-Length", str(whole - start))
        self.end_headers()
        kind, count = fault or ("all", whole)
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body[start : start + count])
        if kind == "stall":
            self.wfile.flush()
            time.sleep(20)


@contextlib.contextmanager
def serving():
    """A running `FileServer`."""
    with FileServer() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server
        server.shutdown()
