"""How an endpoint is talked to, whatever it does: the message, and how many requests it took."""

import os
import re
import socket
import ssl
import subprocess
import threading
import time

import pytest

from pipeline import InputError
from pipeline.endpoint import Endpoint, Kubeflow, LostContact, Refused, TimedOut
from tests.pipeline.conftest import count

QUICK = {"answer_seconds": 0.3, "pause": 0.01}


def ask(seen, **named):
    kubeflow = Kubeflow(Endpoint(seen.host, **QUICK, **named))
    return kubeflow.ask(kubeflow.runs.run_service_list_runs)


def test_the_token_goes_into_the_header_of_every_request(kubeflow):
    kubeflow.token = "sesame"
    ask(kubeflow, token="sesame")
    assert [headers["authorization"] for _, _, headers, _ in kubeflow.requests] == ["Bearer sesame"] * 2


def test_a_token_file_is_read_anew_for_every_request(kubeflow, tmp_path):
    file = tmp_path / "token"
    file.write_text("first\n")
    client = Kubeflow(Endpoint(kubeflow.host, token="not this one", token_file=file))
    file.write_text("second\n")
    client.ask(client.runs.run_service_list_runs)
    assert [headers["authorization"] for _, _, headers, _ in kubeflow.requests] == ["Bearer first", "Bearer second"]


def test_a_wrong_token_is_refused_at_once_and_not_repeated_in_the_message(kubeflow):
    kubeflow.token = "sesame"
    with pytest.raises(Refused, match=r"wants a login \(status 401\).*KFP_TOKEN") as refusal:
        ask(kubeflow, token="barley")
    assert len(kubeflow.requests) == 1
    assert "barley" not in str(refusal.value)


def test_the_token_is_taken_out_of_the_words_of_the_endpoint(kubeflow):
    kubeflow.plays["GET", "/runs"] = [400]
    with pytest.raises(Refused, match=r"status 400 Bad Request: no: Bearer \(token\)$"):
        ask(kubeflow, token="sesame")


def test_an_endpoint_does_not_show_its_token():
    assert "sesame" not in repr(Endpoint("https://kfp.example", "sesame"))


@pytest.mark.parametrize(
    ("host", "tells"),
    [
        ("http://kfp.example", True),
        ("http://localhost.example", True),
        ("https://kfp.example", False),
        ("http://localhost:8080", False),
        ("http://127.0.0.1:8080", False),
    ],
)
def test_a_token_over_a_network_without_encryption_is_known(host, tells):
    assert Endpoint(host, "sesame").tells_secrets is tells
    assert not Endpoint(host).tells_secrets


@pytest.mark.parametrize("way", ["login", "page"])
def test_a_login_page_is_not_taken_for_an_answer(way, kubeflow):
    kubeflow.plays["GET", "/runs"] = [way]
    with pytest.raises(Refused, match=r"login.*KFP_TOKEN.*--token-file"):
        ask(kubeflow)
    assert [path for _, path, _, _ in kubeflow.requests] == ["/healthz", "/runs"]


@pytest.mark.parametrize(("status", "message"), [(403, r"--namespace"), (404, "status 404"), (409, "status 409")])
def test_a_refusal_is_told_and_not_asked_again(status, message, kubeflow):
    kubeflow.plays["GET", "/runs"] = [status]
    with pytest.raises(Refused, match=message) as refusal:
        ask(kubeflow)
    assert refusal.value.status == status
    assert count(kubeflow, "GET", "/runs") == 1


@pytest.mark.parametrize("trouble", [500, 503, "drop", "hang"])
def test_a_question_is_put_again_until_it_is_answered(trouble, kubeflow):
    kubeflow.plays["GET", "/runs"] = [trouble] * 3
    ask(kubeflow)
    assert count(kubeflow, "GET", "/runs") == 4


@pytest.mark.parametrize(
    ("trouble", "kind", "message"),
    [
        (500, LostContact, "status 500 .*out of order"),
        ("drop", LostContact, "ProtocolError.*(aborted|reset)"),
        ("hang", TimedOut, "timed out"),
    ],
)
def test_an_endpoint_that_never_answers_is_given_up(trouble, kind, message, kubeflow):
    kubeflow.plays["GET", "/runs"] = [trouble] * 9
    with pytest.raises(kind, match=message):
        ask(kubeflow)
    assert count(kubeflow, "GET", "/runs") == 4


def test_a_host_that_is_not_there_is_named_within_seconds():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host = f"http://127.0.0.1:{free.getsockname()[1]}"
    start = time.monotonic()
    with pytest.raises(LostContact, match=rf"--host {host} does not answer: .*kubectl port-forward"):
        Kubeflow(Endpoint(host))
    assert time.monotonic() - start < 5


def test_a_host_without_a_scheme_is_told_what_to_type():
    with pytest.raises(InputError, match=r"--host kfp.example: .*type https://kfp\.example"):
        Kubeflow(Endpoint("kfp.example"))


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("http://[::1", "is no address; type it like http://localhost:8080"),
        ("http://h:99999", "is no address"),
        ("http://a b", "is no address"),
        ("https://kfp.example/pipeline/#/runs", "is the address of a page; type https://kfp.example/pipeline/$"),
        ("https://kfp.example/?ns=me", "is the address of a page; type https://kfp.example/$"),
    ],
)
def test_a_host_that_can_be_none_is_refused_before_anyone_is_asked(host, message):
    with pytest.raises(InputError, match=rf"^--host {re.escape(host)} {message}"):
        Kubeflow(Endpoint(host))


def test_a_password_in_the_host_is_refused_and_not_repeated():
    with pytest.raises(InputError, match=r"^--host has a user or a password in it.*KFP_TOKEN") as refusal:
        Kubeflow(Endpoint("https://me:sesame@kfp.example"))
    assert "sesame" not in str(refusal.value)


def test_a_token_through_a_pipe_is_read_once_and_kept(kubeflow, tmp_path):
    os.mkfifo(tmp_path / "token")
    writing = threading.Thread(target=(tmp_path / "token").write_text, args=("sesame\n",))
    writing.start()
    kubeflow.token = "sesame"
    ask(kubeflow, token_file=tmp_path / "token")
    writing.join()
    assert len(kubeflow.requests) == 2


def test_a_host_that_is_something_else_is_refused(kubeflow):
    with pytest.raises(InputError, match=r"/elsewhere.*status 404.*is this Kubeflow"):
        Kubeflow(Endpoint(f"{kubeflow.host}/elsewhere"))


def test_where_there_are_several_users_the_namespace_is_asked_for(kubeflow):
    kubeflow.multi_user = True
    with pytest.raises(InputError, match="several users; type --namespace"):
        Kubeflow(Endpoint(kubeflow.host))
    Kubeflow(Endpoint(kubeflow.host, namespace="me"))


def test_the_authority_of_the_cluster_is_trusted_where_it_is_given_and_only_there(kubeflow, tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = "openssl req -x509 -newkey ed25519 -nodes -days 2 -subj /CN=kfp -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([*command.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    kubeflow.server.socket = context.wrap_socket(kubeflow.server.socket, server_side=True)
    host = kubeflow.host.replace("http:", "https:")
    with pytest.raises(LostContact, match=r"certificate verify failed.*type --ca FILE"):
        Kubeflow(Endpoint(host, **QUICK))
    assert kubeflow.requests == []
    Kubeflow(Endpoint(host, ca=certificate))
    assert len(kubeflow.requests) == 1


def test_an_authority_that_is_none_is_refused(tmp_path):
    file = tmp_path / "ca.pem"
    file.write_text("no certificate")
    with pytest.raises(InputError, match=r"--ca .*ca\.pem holds no certificates"):
        Kubeflow(Endpoint("https://kfp.example", ca=file))
