"""Times as Kubeflow takes them, and those that it would refuse or take for others."""

import re

import pytest

from pipeline import InputError
from pipeline.cron import check


@pytest.mark.parametrize(
    "text", ["0 0 3 * * 1", "0 */15 0-6,22 ? * MON-FRI", "59 59 23 31 jan,DEC 6", "0 3/5 1-7/2 * 1-12 0"]
)
def test_times_as_kubeflow_writes_them_pass(text):
    check(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 3 * * 1", 'has no seconds, with which Kubeflow begins; type --every "0 0 3 '),
        ("@daily", 'has 1 fields of 6: second, minute, .*type --every "0 0 3 '),
        ("0 60 3 * * 1", "60 is no minute, which goes from 0 to 59"),
        ("0 0 3 0 * 1", "0 is no day of the month, which goes from 1 to 31"),
        ("0 0 3 * * 7", "7 is no day of the week, which goes from 0 to 6"),
        ("0 0 MON * * *", "MON is no hour"),
        ("0 */0 3 * * 1", r"\*/0 is no minute"),
        ("0 5-1 3 * * 1", "5-1 is no minute"),
        ("0 , 3 * * 1", ", is no minute"),
        ("0 1- 3 * * 1", "1- is no minute"),
        ("0 /5 3 * * 1", "/5 is no minute"),
        ("0 0 3 * FOO 1", "FOO is no month"),
        ("0 0 3 * MON 1", "MON is no month"),
        ("0 0 \u0663 * * 1", "\u0663 is no hour"),
        ("0 0 3 * * $", r"\$ is no day of the week"),
    ],
)
def test_other_times_are_refused(text, message):
    with pytest.raises(InputError, match=f'--every "{re.escape(text)}".*{message}'):
        check(text)
