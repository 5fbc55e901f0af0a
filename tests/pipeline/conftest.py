"""A Kubeflow Pipelines endpoint of our own: the real client talks to it over real HTTP.

It keeps the experiments, runs and schedules it is told to make, holds every request and its own answers against the
published description of the API (`described`), and plays whatever can go wrong on the way.
"""

import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.pipeline import described

API = "/apis/v2beta1"
OPERATIONS = described.operations()


class Handler(BaseHTTPRequestHandler):
    """Answers as Kubeflow does; errors repeat the header with the token, which no client should print."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.serve(None)

    def do_POST(self):
        self.serve(json.loads(self.rfile.read(int(self.headers["content-length"]))))

    def serve(self, body):
        seen, address = self.server.seen, urlsplit(self.path)
        path, query = address.path.removeprefix(API), dict(parse_qsl(address.query))
        seen.requests.append((self.command, path, dict(self.headers), body))
        found = [one for one in OPERATIONS if one.method == self.command and one.path.fullmatch(address.path)]
        if not found:
            return self.refuse(404)
        (operation,) = found
        seen.faults += described.request_faults(operation, query, body)
        if seen.token and self.headers.get("authorization") != f"Bearer {seen.token}":
            return self.refuse(401)
        queue = seen.plays.get((self.command, path), [])
        return self.play(queue.pop(0) if queue else None, operation, path, query, body)

    def play(self, outcome, operation, path, query, body):
        """Do what was asked, unless something is to go wrong before or after."""
        if outcome in ("drop", "hang") or isinstance(outcome, int):
            status, document = outcome, None
        else:
            status, document = self.done(path, query, body)
        status = 409 if outcome == "taken" else status
        if outcome and str(outcome).startswith("hang"):
            self.server.released.wait(20)
        if outcome and str(outcome).startswith(("drop", "hang")):
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        elif outcome == "login":
            self.send_response(302)
            self.send_header("location", f"{self.server.seen.host}/login")
            self.send_header("content-length", "0")
            self.end_headers()
        elif outcome == "page":
            self.answer(b"<html>log in</html>", 200, "text/html")
        elif status == 200:
            self.server.seen.faults += described.faults(document, operation.answer, "answer")
            self.answer(json.dumps(document).encode(), 200)
        else:
            self.refuse(status)

    def done(self, path, query, body):
        """What a working Kubeflow does: a status, and a document with 200."""
        seen = self.server.seen
        if path == "/healthz":
            return 200, {"multi_user": seen.multi_user}
        noun, _, name = path.strip("/").partition("/")
        kept = {"experiments": seen.experiments, "runs": seen.runs, "recurringruns": seen.schedules}[noun]
        key, field = {
            "experiments": ("experiment_id", "experiments"),
            "runs": ("run_id", "runs"),
            "recurringruns": ("recurring_run_id", "recurringRuns"),
        }[noun]
        if body is not None:
            if noun == "experiments" and any(one["display_name"] == body["display_name"] for one in kept):
                return 409, None
            kept.append({key: f"{noun[0]}{len(kept)}", **body})
            return 200, kept[-1]
        if name:
            found = [one for one in kept if one[key] == name]
            course = seen.course.pop(0) if len(seen.course) > 1 else seen.course[0]
            return (200, found[0] | course) if found else (404, None)
        if "filter" in query:
            wanted = json.loads(query["filter"])["predicates"][0]
            value = wanted.get("string_value", wanted.get("stringValue"))
            kept = [one for one in kept if one["display_name"] == value]
        return 200, ({field: kept} if kept else {})

    def refuse(self, status):
        message = f"no: {self.headers.get('authorization')}" if status < 500 else "out of order"
        self.answer(json.dumps({"error": message, "code": 3, "message": message}).encode(), status)

    def answer(self, body, status, kind="application/json"):
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def kubeflow(tmp_path, monkeypatch):
    """The endpoint.

    `requests` are (method, path, headers, body); `plays` has outcomes by (method, path), the next one first: a status,
    "drop" or "hang" (before the work is done), "drop after" or "hang after", "taken" (by another, just
    before), "login", "page"; `course` is what a run
    says of itself, look after look.
    """
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KFP_TOKEN", raising=False)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.released = threading.Event()
    server.seen = SimpleNamespace(
        host=f"http://127.0.0.1:{server.server_port}",
        requests=[],
        faults=[],
        plays={},
        experiments=[],
        runs=[],
        schedules=[],
        course=[{"state": "SUCCEEDED"}],
        token=None,
        multi_user=False,
        server=server,
    )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server.seen
    server.released.set()
    server.shutdown()
    thread.join()
    server.server_close()
    assert server.seen.faults == []


def count(seen, method, path):
    """How many requests of a kind there were."""
    return sum((verb, place) == (method, path) for verb, place, _, _ in seen.requests)


def aside(call, *given, **named):
    """Call something in a thread: kfp looks at the whole stack at each setting of a task, and pytest's is deep."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call, *given, **named).result()
