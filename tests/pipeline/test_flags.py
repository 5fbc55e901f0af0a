"""What can be typed, and what cannot."""

import pytest

from pipeline.__main__ import COMMANDS
from pipeline.flags import parser

HOST = ["--host", "https://kfp.example"]


def test_every_command_has_a_help_with_the_exit_statuses(capsys):
    for name in COMMANDS:
        with pytest.raises(SystemExit, match="0"):
            parser(COMMANDS).parse_args([name, "--help"])
        assert "3 no contact" in capsys.readouterr().out


@pytest.mark.parametrize("flag", [["--token", "sesame"], ["--token=sesame"]])
def test_a_token_cannot_be_typed_and_is_not_repeated(flag, capsys):
    with pytest.raises(SystemExit, match="2"):
        parser(COMMANDS).parse_args(["status", "r0", *HOST, *flag])
    printed = capsys.readouterr().err
    assert "sesame" not in printed
    assert "KFP_TOKEN" in printed


def test_a_wrong_flag_leaves_with_two(capsys):
    with pytest.raises(SystemExit, match="2"):
        parser(COMMANDS).parse_args(["submit", "--raw", "x"])
    assert "--host" in capsys.readouterr().err


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "1e300", "soon"])
def test_seconds_are_above_zero(seconds, capsys):
    with pytest.raises(SystemExit, match="2"):
        parser(COMMANDS).parse_args(["status", "r0", *HOST, "--poll", seconds])
    assert f"argument --poll: '{seconds}' is no number above 0 and below 100 millions" in capsys.readouterr().err


@pytest.mark.parametrize("run", ["", "http://kfp.example/#/runs/details/r0", "../experiments", "r 0"])
def test_a_run_has_an_id(run, capsys):
    with pytest.raises(SystemExit, match="2"):
        parser(COMMANDS).parse_args(["status", run, *HOST])
    assert f"{run!r} is no id" in capsys.readouterr().err


def test_this_machine_runs_what_make_images_builds_and_a_cluster_what_its_profile_says():
    local = parser(COMMANDS).parse_args(["run-local", "--raw", "x", "--work", "y"])
    cluster = parser(COMMANDS).parse_args(["plan", "--raw", "x"])
    assert (local.small_image, local.large_image) == (
        "localhost/inverseform/small:dev",
        "localhost/inverseform/large:dev",
    )
    assert cluster.small_image is cluster.large_image is None
    assert local.profile.is_absolute() and (local.profile.name, cluster.profile.name) == ("cpu.yaml", "gpu.yaml")


def test_flags_are_the_same_wherever_they_mean_the_same():
    submit = parser(COMMANDS).parse_args(["submit", "--raw", "x", *HOST])
    plan = parser(COMMANDS).parse_args(["plan", "--raw", "x"])
    status = parser(COMMANDS).parse_args(["status", "r0", *HOST])
    for other in (plan, status):
        shared = set(vars(other)) - {"command", "run"}
        assert {name: vars(submit)[name] for name in shared} == {name: vars(other)[name] for name in shared}
