"""One page: this service answers, and what the service behind it (environment BACKEND, a URL) says."""

import html
import os
import socket
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import status_page

PORT = 8080
BACKEND = os.environ.get("BACKEND", "http://vector-demo:8000/")
# A page that waits longer for its backend looks broken itself.
BACKEND_SECONDS = 2
# Far more than a status is; a backend gone wild must not fill this service's memory.
BACKEND_BYTES = 64 * 1024

TEMPLATE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Siso quickstart</title>
<body style="font-family: sans-serif; max-width: 40em; margin: 3em auto">
<h1>It runs.</h1>
<p>This page comes from container <code>{hostname}</code>.</p>
<p>The vector demo says:</p><pre>{backend}</pre>
</body></html>
"""


def backend_says():
    try:
        with urllib.request.urlopen(BACKEND, timeout=BACKEND_SECONDS) as answer:
            return answer.read(BACKEND_BYTES).decode(errors="replace")
    except (urllib.error.URLError, OSError) as error:
        return f"no answer from {BACKEND}: {error}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/healthz":
            self.answer("ok\n", "text/plain")
        else:
            page = TEMPLATE.format(hostname=socket.gethostname(), backend=html.escape(backend_says()))
            self.answer(page, "text/html; charset=utf-8")

    def answer(self, text, kind):
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Health checks would fill the log."""


if __name__ == "__main__":
    status_page.stop_on_signals()
    print(f"listening on port {PORT}")
    ThreadingHTTPServer(("", PORT), Handler).serve_forever()
