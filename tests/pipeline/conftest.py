"""A Kubeflow Pipelines endpoint of our own: kfp's real client talks to it over real HTTP."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from urllib.parse import urlsplit

import kfp
import pytest

API = "/apis/v2beta1"


class Handler(BaseHTTPRequestHandler):
    """Remembers what it was asked, and keeps the experiments and runs it was told to make."""

    def do_GET(self):
        seen, path = self.server.seen, urlsplit(self.path).path.removeprefix(API)
        seen.requests.append(("GET", path, dict(self.headers), None))
        if seen.token and self.headers.get("authorization") != f"Bearer {seen.token}":
            self.answer({"error": "who are you?"}, status=401)
        elif path == "/healthz":
            self.answer({"multi_user": False})
        elif path == "/experiments":
            self.answer({"experiments": seen.experiments} if seen.experiments else {})
        elif path.startswith("/runs/"):
            state = seen.states.pop(0) if len(seen.states) > 1 else seen.states[0]
            self.answer({"run_id": path.rsplit("/", 1)[1], "state": state})
        else:
            self.answer({"error": f"nothing at {path}"}, status=404)

    def do_POST(self):
        seen, path = self.server.seen, urlsplit(self.path).path.removeprefix(API)
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        seen.requests.append(("POST", path, dict(self.headers), body))
        if path == "/experiments":
            seen.experiments.append({"experiment_id": f"e{len(seen.experiments)}", **body})
            self.answer(seen.experiments[-1])
        elif path == "/runs" and not seen.refuses:
            self.answer({"run_id": "r0", "state": "PENDING", **body})
        else:
            self.answer({"error": "the pipeline is not to my taste"}, status=400)

    def answer(self, document, *, status=200):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def kubeflow(tmp_path, monkeypatch):
    """The endpoint; its `requests` are (method, path, headers, body)."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(kfp.Client, "_LOCAL_KFP_CONTEXT", str(tmp_path / "kfp" / "context.json"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False
    server.seen = SimpleNamespace(
        host=f"http://127.0.0.1:{server.server_port}",
        requests=[],
        experiments=[],
        states=["SUCCEEDED"],
        token=None,
        refuses=False,
    )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server.seen
    server.shutdown()
    thread.join()
    server.server_close()
