import multiprocessing
from collections import Counter

import pytest
import torch

from components.segmentation_batches import Batches, SamplingParams, statistics
from inverseform.data.augment import AugmentParams, augment
from inverseform.settings import InputError
from inverseform.training.batches import Division, Part, load
from inverseform.training.launch import PLAIN, launch
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


def sampled(store, share, params=MOVED, seed=1):
    return Batches(store, params, seed=seed, sampling=SamplingParams(class_uniform=share))


def test_without_class_uniform_sampling_the_stream_is_that_of_epochs_in_order(store):
    """Written out as it is defined, so that a run that was begun before can go on."""
    generator = torch.Generator().manual_seed(1_000_003 + 3)
    epochs = [torch.randperm(6, generator=torch.Generator().manual_seed(1_000_003 + n)).tolist() for n in (2, 3)]
    order = (epochs[0] + epochs[1])[:4]
    images, labels = zip(
        *(augment(store.sample("train", index), MOVED, generator=generator) for index in order), strict=True
    )
    for batches in (Batches(store, MOVED, seed=1), sampled(store, 0.0)):
        batch = batches(whole(3))
        assert batches.indices(whole(3)) == order
        assert torch.equal(batch.images, torch.stack(images)) and torch.equal(batch.labels, torch.stack(labels))


def test_every_class_is_chosen_as_often_and_only_in_images_that_have_it(store):
    batches = sampled(store, 1.0)
    choices = [choice for step in range(400) for choice in batches.choices(whole(step))]
    pixels = store.class_pixels("train")
    assert all(pixels[choice.sample][choice.focus.klass] for choice in choices)
    counts = Counter(choice.focus.klass for choice in choices)
    # Four standard deviations of a count of 1600 with a chance of a quarter.
    assert sorted(counts) == list(range(CLASSES)) and all(abs(count - 400) < 70 for count in counts.values())
    assert len({(choice.sample, choice.focus.klass) for choice in choices}) == sum(
        bool(count) for counts in pixels for count in counts
    )


def test_a_window_shows_a_pixel_of_the_class_it_was_chosen_for(store):
    enlarged = AugmentParams(scale=(1.0, 1.5), crop=(8, 8), flip=True, brightness=0.1)
    batches = sampled(store, 1.0, params=enlarged)
    for step in range(40):
        part = whole(step)
        for labels, choice in zip(batches(part).labels, batches.choices(part), strict=True):
            assert (labels == choice.focus.klass).any()


def test_a_share_is_chosen_for_classes_and_the_rest_are_those_of_the_epoch(store):
    batches, plain = sampled(store, 0.3), Batches(store, MOVED, seed=1)
    parts = [whole(step) for step in range(300)]
    choices = [choice for part in parts for choice in batches.choices(part)]
    assert abs(sum(choice.focus is not None for choice in choices) / 1200 - 0.3) < 0.06
    usual = [index for part in parts for index in plain.indices(part)]
    assert all(c.sample == index for c, index in zip(choices, usual, strict=True) if c.focus is None)


@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_the_parts_of_a_class_uniform_batch_are_the_batch(store, count):
    batches = sampled(store, 0.5)
    parts = [batches(Part(5, first, count, 30 + first)) for first in range(0, 6, count)]
    assert torch.equal(torch.cat([part.images for part in parts]), batches(whole(5, 6)).images)
    assert torch.equal(torch.cat([part.labels for part in parts]), batches(whole(5, 6)).labels)


def test_another_process_chooses_and_cuts_out_the_same(store):
    batches = sampled(store, 0.5)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        there = pool.map(batches.choices, [whole(7)])[0]
    assert there == batches.choices(whole(7))
    assert sampled(store, 0.5).choices(whole(7)) == there != sampled(store, 0.5, seed=2).choices(whole(7))


@pytest.mark.parametrize("processes", [1, 2])
def test_workers_and_processes_change_no_class_uniform_batch(store, processes):
    """Whoever loads them, and into however many shares a batch is divided."""
    batches, division = sampled(store, 0.5), Division(batch=4, accumulate=1, processes=processes)
    loaded = list(load(batches, division, range(3, 6), machine=launch(PLAIN.model_copy(update={"workers": 2}))))
    for step, batch in zip(range(3, 6), loaded, strict=True):
        mine = batches(whole(step))
        assert torch.equal(batch.images, mine.images[: 4 // processes])
        assert torch.equal(batch.labels, mine.labels[: 4 // processes])


def test_without_a_known_class_none_can_be_chosen(tmp_path):
    empty = sample_store(tmp_path / "samples", train=0, val=2)
    with pytest.raises(InputError, match=r"class_uniform: no train sample from drawn has a pixel of a known class"):
        sampled(empty, 0.5)


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
