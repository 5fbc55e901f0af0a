import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.losses.ledger import Ledger
from inverseform.settings import InputError

ROOT = Path(__file__).parents[3]


def test_rows_come_back_as_they_went_and_are_found_by_their_columns(tmp_path):
    ledger = Ledger(tmp_path / "new" / "ledger.jsonl")
    assert ledger.rows() == []
    rows = [{"loss": "a", "seed": 1, "mba": 0.1 + 0.2}, {"loss": "a", "seed": 2, "mba": None}]
    for row in rows:
        ledger.append(row)
    assert ledger.rows() == rows
    assert ledger.find(loss="a", seed=2) == rows[1:] and ledger.find(loss="b") == []


def test_a_torn_last_line_is_told_of_and_cut_by_the_next_row(tmp_path, caplog):
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger(path)
    ledger.append({"seed": 1})
    whole = path.read_bytes()
    # Each length that a write may have been cut at, also just before the line's end.
    line = json.dumps({"seed": 2, "words": "größer"}).encode()
    for length in range(1, len(line) + 1):
        path.write_bytes(whole + line[:length])
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert ledger.rows() == [{"seed": 1}]
        assert "its last line is torn and not used" in caplog.text
        ledger.append({"seed": 3})
        assert ledger.rows() == [{"seed": 1}, {"seed": 3}]


def test_a_line_in_the_middle_that_is_no_row_is_refused(tmp_path):
    path = tmp_path / "ledger.jsonl"
    path.write_text('{"seed": 1}\n{"seed": \n{"seed": 3}\n')
    with pytest.raises(InputError, match=r"line 2 is no row: '\{\"seed\": '; take the line out"):
        Ledger(path).rows()


def test_what_is_not_finite_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        Ledger(tmp_path / "ledger.jsonl").append({"mba": float("nan")})
    assert not (tmp_path / "ledger.jsonl").exists()


def test_two_processes_that_write_at_once_lose_no_row(tmp_path):
    code = (
        "import sys; from pathlib import Path; from benchmarks.losses.ledger import Ledger\n"
        "for n in range(40): Ledger(Path(sys.argv[1])).append({'who': sys.argv[2], 'n': n, 'fill': 'x' * 5000})"
    )
    path = tmp_path / "ledger.jsonl"
    running = [subprocess.Popen([sys.executable, "-c", code, str(path), who], cwd=ROOT) for who in "ab"]
    assert [each.wait() for each in running] == [0, 0]
    rows = Ledger(path).rows()
    assert [[row["n"] for row in rows if row["who"] == who] for who in "ab"] == [list(range(40))] * 2
