"""What only a GPU can show, for `make test-gpu` alone: other runs of pytest do not collect it.

Without a GPU none of it runs, which is said in a line of its own; that is no failure.
"""

import subprocess
import sys

import pytest
import torch

from tests.drawn import ROOT
from tests.gpu.device import missing

LEFT_OUT = pytest.StashKey[int]()


def pytest_configure(config):
    config.addinivalue_line("markers", "gpu: needs a CUDA device; run by `make test-gpu`")


def pytest_ignore_collect(config):
    # By the words of the command: an expression such as "not gpu" leaves out what it collects.
    return None if "gpu" in config.getoption("markexpr") else True


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    # Of a session with other tests these see all of them.
    ours = [item for item in items if item.get_closest_marker("gpu")]
    if ours and missing():
        config.stash[LEFT_OUT] = len(ours)
        config.hook.pytest_deselected(items=ours)
        items[:] = [item for item in items if item not in ours]


def pytest_sessionfinish(session, exitstatus):
    if LEFT_OUT in session.config.stash and exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
        session.exitstatus = pytest.ExitCode.OK


def pytest_terminal_summary(terminalreporter, config):
    if count := config.stash.get(LEFT_OUT, 0):
        terminalreporter.write_line(f"SKIPPED: none of the {count} GPU tests was run, as {missing()}")


@pytest.fixture(autouse=True)
def the_same_numbers_each_time():
    torch.manual_seed(0)


@pytest.fixture
def run_script():
    """Run a script in a process of its own, from the root, with arguments."""

    def run(script, *arguments):
        subprocess.run([sys.executable, "-W", "ignore", "-c", script, *arguments], check=True, cwd=ROOT)

    return run
