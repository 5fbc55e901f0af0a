import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.losses.__main__ import main
from benchmarks.losses.ledger import Ledger
from tests.benchmarks.losses.small import SETTINGS
from tests.drawn import sample_store

ROOT = Path(__file__).parents[3]


def arguments(folder, *more):
    given = ["--samples", folder / "samples", "--work", folder / "work", "--ledger", folder / "ledger.jsonl",
             "--settings", SETTINGS, *more]  # fmt: skip
    return ["-m", "benchmarks.losses", *map(str, given)]


def run(monkeypatch, folder, *more):
    monkeypatch.setattr(sys, "argv", arguments(folder, *more)[1:])
    main()


def test_a_comparison_that_is_killed_goes_on_with_the_run_it_was_at(tmp_path, monkeypatch, capsys):
    sample_store(tmp_path / "samples", train=4, val=2, height=64, width=80)
    few = ("--losses", "cross_entropy", "--split", "val", "--seeds", "3")
    run(monkeypatch, tmp_path, "--tune", "--losses", "cross_entropy")
    ledger = Ledger(tmp_path / "ledger.jsonl")
    running = subprocess.Popen([sys.executable, *arguments(tmp_path, *few)], cwd=ROOT, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not ledger.find(kind="score") and time.monotonic() < deadline:
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    before = ledger.rows()
    assert ledger.find(kind="score", seed=1) and not ledger.find(kind="score", seed=3)
    capsys.readouterr()
    run(monkeypatch, tmp_path, *few)
    assert ledger.rows()[: len(before)] == before
    assert [row["seed"] for row in ledger.find(kind="score")] == [1, 2, 3]
    # What was there already is not told as begun.
    scored = [row for row in before if row["kind"] == "score"]
    assert capsys.readouterr().out.count("cross_entropy") == 3 - len(scored)


def test_what_is_wrong_is_told_in_a_line(tmp_path, monkeypatch, capsys):
    sample_store(tmp_path / "samples", train=2, val=1, height=64, width=80)
    for more, told in (
        (["--losses", "cros_entropy"], "losses: --losses cros_entropy: there is no such loss; name some of cross_entr"),
        (["--split", "tset"], "losses: --split tset: the samples have train, val; name one"),
        (["--inverse-net", "siamese"], "losses: --inverse-net siamese: a name and the folder"),
        (["--seeds", "5:2"], "5:2: at least one seed, at most 999"),
        (["--settings", json.dumps({"bacth": 1})], "losses: --settings"),
        (["--split", "val", "--losses", "boundary_dou"], "no trial of cross_entropy was chosen"),
    ):
        with pytest.raises(SystemExit) as left:
            run(monkeypatch, tmp_path, *more)
        assert told in f"{left.value.code} {capsys.readouterr().err}"
        assert left.value.code != 0
    assert not (tmp_path / "ledger.jsonl").exists()
