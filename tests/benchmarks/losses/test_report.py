import sys
from statistics import fmean

import pytest
from scipy import stats

from benchmarks.losses.ledger import Ledger
from benchmarks.losses.report import BEGIN, END, OTHERS, above, balanced, entries, lines, main, put, table, trials
from inverseform.settings import InputError

MBA = {
    "cross_entropy": [0.50, 0.52, 0.49],
    "boundary_head": [0.51, 0.54, 0.51],
    "boundary_classes": [0.505, 0.52, 0.50],
    "inverseform_lie_classes": [0.53, 0.55, 0.50],
    "boundary_dou": [0.40],
}


def row(loss, seed, mba, *, weight=1.0, setting="abc", **more):
    return {
        "kind": "score", "loss": loss, "words": f"words of {loss}",
        "trial": {"weight": weight, "start": 0.5, "beta": 0.0},
        "beneath": "boundary_classes" if loss.startswith("inverseform") else None, "seed": seed, "mode": "finetune",
        "split": "test", "mba": mba, "miou": 0.6, **dict.fromkeys(OTHERS, 0.7), "apart_miou": None,
        "seconds_per_step": 1.25, "inverse_net": "f" * 64 if loss.startswith("inverseform") else None,
        "setting": setting, "settings": {"apart": "Seq"}, "torch": "2", "machine": "m", **more,
    }  # fmt: skip


@pytest.fixture
def rows():
    return [row(loss, seed, value) for loss, values in MBA.items() for seed, value in enumerate(values, start=1)]


def found(rows, **given):
    return entries(rows, **{"mode": "finetune", "split": "test", "setting": None, **given})


def test_losses_come_with_the_largest_mba_first_and_differences_are_scipys(rows):
    losses = found(rows)
    assert list(losses) == sorted(MBA, key=lambda name: -fmean(MBA[name]))
    one, other = ([100 * value for value in MBA[name]] for name in ("inverseform_lie_classes", "cross_entropy"))
    interval = stats.ttest_rel(one, other).confidence_interval(0.95)
    difference = above(losses, "inverseform_lie_classes", "cross_entropy", "mba")
    assert (difference.low, difference.high) == pytest.approx((interval.low, interval.high))
    text = table(losses)
    assert f"{difference.mean:+.2f} [{interval.low:+.2f}, {interval.high:+.2f}]" in text
    assert text.index("words of inverseform_lie") < text.index("words of boundary_head") < text.index("words of cross")


def test_each_is_held_against_the_boundary_cross_entropy_beneath_it_or_else_the_better_one(rows):
    losses = found(rows)
    assert balanced(losses, "inverseform_lie_classes") == "boundary_classes"
    assert balanced(losses, "boundary_dou") == balanced(losses, "cross_entropy") == "boundary_head"
    assert balanced(found(rows[:3]), "cross_entropy") is None


def test_what_is_undefined_is_told_so(rows):
    text = table(found([*rows, row("boundary_head", 4, None)]))
    [dou] = [line for line in text.splitlines() if "words of boundary_dou" in line and "1.25" in line]
    assert "-10.00 (interval undefined: 1 seed)" in dou
    # None is boundary-weighted, and the images apart have no mIoU.
    assert dou.split("|")[7].strip() == "undefined"
    assert text.splitlines()[-3].split("|")[-2].strip() == "undefined"
    assert "52.00 (undefined for 1 seeds)" in text
    [line] = [each for each in lines(found(rows)) if "dou" in each.words]
    assert line.mba.mean == pytest.approx(-10) and line.mba.low is None and not line.ours


def test_a_run_that_was_done_twice_counts_once_and_an_earlier_trial_does_not(rows):
    losses = found([row("boundary_head", 1, 0.9, weight=0.1), *rows, rows[3]])
    assert losses["boundary_head"].scores("mba") == pytest.approx({1: 51, 2: 54, 3: 51})
    assert len(losses["boundary_head"].rows) == 3


def test_settings_are_never_mixed(rows):
    mixed = [*rows, row("cross_entropy", 1, 0.1, setting="xyz")]
    with pytest.raises(InputError, match=r"2 of the ledger's fit, .* of the settings abc, xyz; name one of them"):
        found(mixed)
    assert found(mixed, setting="x")["cross_entropy"].scores("mba") == {1: 10.0}
    with pytest.raises(InputError, match="has rows of full on test at all"):
        found(rows, mode="full")


def test_the_command_writes_the_table_between_the_marks_and_the_figure(rows, tmp_path, monkeypatch, capsys):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    for each in [{"kind": "choice", "loss": "a", "trial": {}, "setting": "abc"}, *rows]:
        ledger.append(each)
    page, figure = tmp_path / "page.md", tmp_path / "new" / "figure.svg"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    given = ["report", "--ledger", ledger.path, "--into", page, "--figure", figure]
    monkeypatch.setattr(sys, "argv", [*map(str, given)])
    main()
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert table(found(rows)) in text and table(found(rows)) in capsys.readouterr().out
    assert "words of inverseform_lie_classes" in figure.read_text()
    with pytest.raises(InputError, match="write both where the table is to be"):
        put("text", ledger.path)


def test_all_trials_are_told_and_the_chosen_one_is_marked(rows):
    tried = [row("boundary_dou", 1001, mba, weight=weight, kind="trial") for weight, mba in ((0.2, 0.41), (2.0, None))]
    choice = {"kind": "choice", "loss": "boundary_dou", "trial": tried[0]["trial"], "setting": "abc"}
    text = trials([*rows, *tried, row("boundary_dou", 1001, 0.9, kind="trial", setting="other"), choice], "abc")
    assert text.splitlines()[2:] == [
        "| words of boundary_dou | 0.2, 0.5 (chosen) | 41.00 | 60.00 | 1001 |",
        "| words of boundary_dou | 2, 0.5 | undefined | 60.00 | 1001 |",
    ]
