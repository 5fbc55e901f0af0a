"""A comparison of seconds: drawn scenes, a network of timm's for tests, and few steps."""

import json
from pathlib import Path

from benchmarks.losses.comparison import Comparison
from benchmarks.losses.ledger import Ledger
from benchmarks.losses.params import parsed
from tests.drawn import sample_store


def phase(steps):
    return {"steps": steps, "learning_rate": 0.001, "warm_up": 1, "schedule": "poly"}


SETTINGS = json.dumps({
    "network": {"encoder": "tu-test_efficientnet", "weights": None},
    "augment": {"scale": [0.8, 1.2], "crop": [64, 64]},
    "batch": 2, "base": phase(3), "finetune": phase(2), "full": phase(4), "apart": "val-2",
})  # fmt: skip


def comparison(folder: Path, known, *, mode="finetune", choices=None, settings=SETTINGS):
    if not (folder / "samples").exists():
        sample_store(folder / "samples", train=4, val=3, height=64, width=80)
    return Comparison(
        parsed(settings), samples=folder / "samples", work=folder / "work", ledger=Ledger(folder / "ledger.jsonl"),
        mode=mode, choices=choices or mode, known=known,
    )  # fmt: skip
