import torch

from benchmarks.losses.pictures import Pictures
from inverseform.data.augment import AugmentParams
from tests.drawn import sample_store

AUGMENT = AugmentParams(scale=(1.0, 1.0), crop=(48, 64), flip=False, brightness=0.0)


def test_every_image_comes_once_an_epoch_in_an_order_of_seed_and_epoch(tmp_path):
    pictures = Pictures(sample_store(tmp_path / "samples", train=5, height=48, width=64), "train")
    whole = {sample.labels.numpy().tobytes(): place for place, sample in enumerate(pictures.samples)}
    assert len(whole) == 5

    def drawn(seed):
        labels = torch.cat([pictures.batch(step, 2, AUGMENT, seed=seed)[1] for step in range(10)])
        return [whole[each.numpy().tobytes()] for each in labels]

    order = drawn(1)
    epochs = [order[start : start + 5] for start in range(0, 20, 5)]
    assert all(sorted(epoch) == list(range(5)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1
    assert drawn(1) == order and drawn(2) != order


def test_a_batch_depends_on_seed_and_step_alone_and_memory_holds_no_boundary_maps(tmp_path):
    pictures = Pictures(sample_store(tmp_path / "samples", train=4, height=48, width=64), "train")
    params = AUGMENT.model_copy(update={"scale": (0.7, 1.4), "flip": True, "brightness": 0.3})
    first = pictures.batch(3, 2, params, seed=1)
    pictures.batch(0, 2, params, seed=9)
    again = pictures.batch(3, 2, params, seed=1)
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    assert first[0].shape == (2, 3, 48, 64) and first[1].shape == (2, 48, 64)
    assert pictures.samples[0].boundary.untyped_storage().nbytes() == 4
