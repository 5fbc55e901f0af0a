import pytest
import torch

from components.segmentation_batches import Batches, statistics
from inverseform.data.augment import AugmentParams
from inverseform.settings import InputError
from inverseform.training.batches import Part
from tests.drawn import CLASSES, sample_store

STILL = AugmentParams(scale=(1, 1), crop=(96, 120), flip=False, brightness=0)
MOVED = AugmentParams(scale=(0.8, 1.25), crop=(64, 64), flip=True, brightness=0.2)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return sample_store(tmp_path_factory.mktemp("samples") / "store", train=6, val=1)


def whole(step, size=4):
    return Part(step, 0, size, step * size)


def test_a_batch_depends_on_its_step_alone_and_an_epoch_holds_every_sample_once(store):
    batches = Batches(store, STILL, seed=1)
    made = [batches(whole(step)) for step in (0, 1, 2)]
    assert torch.equal(batches(whole(1)).images, made[1].images)
    images = [(image, labels) for batch in made for image, labels in zip(batch.images, batch.labels, strict=True)]
    samples = [store.sample("train", index) for index in range(6)]
    seen = [next(i for i, s in enumerate(samples) if torch.equal(s.image, image)) for image, _ in images]
    assert sorted(seen[:6]) == sorted(seen[6:]) == list(range(6)) and seen[:6] != seen[6:]
    assert all(torch.equal(samples[i].labels, labels) for i, (_, labels) in zip(seen, images, strict=True))
    assert [index for step in (0, 1, 2) for index in batches.indices(whole(step))] == seen


def test_the_same_sample_is_augmented_in_another_way_the_next_time(store):
    one, other = (Batches(store, MOVED, seed=1)(whole(step, 6)) for step in (0, 1))
    pairs = ((a, b) for a in one.images for b in other.images)
    assert not any(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_the_parts_of_a_batch_are_the_batch(store, count):
    batches = Batches(store, MOVED, seed=1)
    parts = [batches(Part(5, first, count, 30 + first)) for first in range(0, 6, count)]
    assert torch.equal(torch.cat([part.images for part in parts]), batches(whole(5, 6)).images)
    assert torch.equal(torch.cat([part.labels for part in parts]), batches(whole(5, 6)).labels)


def test_a_part_is_told_by_the_names_of_its_samples(store):
    batches = Batches(store, MOVED, seed=1)
    first, second = batches.indices(whole(2, 2))
    assert batches.describe(whole(2, 2)) == f"the train samples {first} (train-{first}), {second} (train-{second})"


def test_statistics_are_those_of_all_pixels(store):
    samples = [store.sample("train", index) for index in range(6)]
    pixels = torch.cat([sample.image.flatten(1) for sample in samples], dim=1).double() / 255
    found = statistics(store)
    assert found.mean == pytest.approx(pixels.mean(dim=1).tolist())
    assert found.std == pytest.approx(pixels.std(dim=1, correction=0).tolist())
    labels = torch.cat([sample.labels.flatten() for sample in samples])
    assert found.counts == [(labels == klass).sum().item() for klass in range(CLASSES)]


def test_statistics_of_many_images_are_those_of_some_spread_evenly(store):
    some = torch.cat([store.sample("train", index).image.flatten(1) for index in (0, 3)], dim=1).double() / 255
    assert statistics(store, most=2).mean == pytest.approx(some.mean(dim=1).tolist())


def test_every_sample_is_read_once(store, monkeypatch):
    read, sample = [], type(store).sample
    monkeypatch.setattr(type(store), "sample", lambda self, *place: read.append(place) or sample(self, *place))
    statistics(store)
    assert read == [("train", index) for index in range(6)]


def test_without_training_samples_there_is_nothing_to_know(tmp_path):
    with pytest.raises(InputError, match=r"no train samples from drawn.*`dvc repro ingest`"):
        statistics(sample_store(tmp_path / "samples", train=0, val=2))
