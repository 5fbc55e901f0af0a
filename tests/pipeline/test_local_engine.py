"""Of the engine what needs none; the rest is in tests/containers/test_run_local.py."""

import gc
import re
import warnings

import pytest
import requests
from docker import errors

from pipeline import InputError
from pipeline.local_engine import connected, memory, told_if_away


@pytest.mark.parametrize("where", ["unix://{}/no.sock", "tcp://127.0.0.1:99999", "npipe://x", "garbage", "ssh://x"])
def test_without_an_engine_it_says_so(where, tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", where.format(tmp_path))
    with warnings.catch_warnings():
        # The engine's client leaves the socket open that led nowhere.
        warnings.simplefilter("ignore", ResourceWarning)
        with pytest.raises(
            InputError, match=r"no container engine answers.*DOCKER_HOST is .*; start Docker, set it, or type"
        ) as caught:
            with connected():
                pass
        del caught
        gc.collect()


@pytest.mark.parametrize("error", [errors.APIError("500"), requests.ConnectionError("gone")])
def test_an_engine_that_ends_meanwhile_is_no_traceback(error):
    with pytest.raises(InputError, match=r"the container engine does not do as it is told: (500|gone)"):
        with told_if_away():
            raise error


def test_a_container_gets_a_share_of_the_machine_or_what_was_typed():
    assert memory(None, 8 << 30) == 6 << 30
    assert memory(1 << 30, 8 << 30) == 1 << 30


@pytest.mark.parametrize(("wanted", "told"), [(1 << 20, "0.0009766"), (9 << 30, "9"), (10**26, "9.313e+16")])
def test_memory_that_no_container_here_can_have_is_refused(wanted, told):
    message = rf"^--memory {re.escape(told)} is none that .* type a number of GiB from 0\.0625 to 8$"
    with pytest.raises(InputError, match=message):
        memory(wanted, 8 << 30)
