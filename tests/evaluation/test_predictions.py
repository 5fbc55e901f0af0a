import tempfile
from pathlib import Path

import torch

from inverseform.evaluation.predictions import Predictions


def test_predictions_come_back_in_any_order_and_at_any_size():
    maps = [torch.randint(0, 255, (5 + seed, 7), dtype=torch.uint8) for seed in range(4)]
    with Predictions() as kept:
        for each in maps[:3]:
            kept.add(each)
        assert torch.equal(kept[2], maps[2]) and torch.equal(kept[0], maps[0])
        # One that is added after reading goes behind the others, not over them.
        kept.add(maps[3].T)
        assert torch.equal(kept[3], maps[3].T) and torch.equal(kept[1], maps[1])


def test_nothing_is_left_on_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Predictions() as kept:
        kept.add(torch.zeros(100, 100, dtype=torch.uint8))
        assert list(Path(tmp_path).iterdir()) == []
    assert list(Path(tmp_path).iterdir()) == []
