"""A status over HTTP: / answers a JSON document, /healthz 200 or 503."""

import json
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def stop_on_signals():
    """SIGTERM and SIGINT end the process at once: nothing here is worth a wait."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))


class Page(BaseHTTPRequestHandler):
    """One request. `status` and `healthy` are functions without arguments, set by `serve`."""

    def do_GET(self):
        if self.path == "/healthz":
            healthy = self.healthy()
            self.answer(200 if healthy else 503, {"healthy": healthy})
        elif self.path == "/":
            self.answer(200, self.status())
        else:
            self.answer(404, {"error": "there is / and /healthz"})

    def answer(self, code, document):
        body = (json.dumps(document, indent=2) + "\n").encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Health checks would fill the log."""


def serve(port, status, healthy):
    """Answers on `port` in a thread of its own until the process ends."""
    page = type("Page", (Page,), {"status": staticmethod(status), "healthy": staticmethod(healthy)})
    server = ThreadingHTTPServer(("", port), page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
