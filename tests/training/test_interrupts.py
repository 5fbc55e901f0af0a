import os
import signal

import pytest

from inverseform.training.interrupts import Interrupts


def test_a_signal_is_remembered_and_the_handlers_of_the_caller_come_back():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with pytest.raises(SystemExit) as left, Interrupts() as interrupts:
        assert interrupts.flags() == [0.0, 0.0]
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupts.flags() == [1.0, 0.0] and interrupts.signal == signal.SIGTERM
    assert left.value.code == 143
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_what_another_process_heard_is_taken_over():
    with pytest.raises(KeyboardInterrupt), Interrupts() as interrupts:
        assert interrupts.agree([0.0, 0.5])
    assert interrupts.signal == signal.SIGINT


def test_a_signal_that_came_since_the_processes_agreed_is_kept_for_the_next_time():
    with pytest.raises(SystemExit), Interrupts() as interrupts:
        flags = interrupts.flags()
        os.kill(os.getpid(), signal.SIGTERM)
        assert not interrupts.agree(flags)
        assert interrupts.agree(interrupts.flags())


def test_an_error_is_not_covered_by_a_signal():
    with pytest.raises(ValueError, match="worse"), Interrupts():
        os.kill(os.getpid(), signal.SIGTERM)
        raise ValueError("worse")
