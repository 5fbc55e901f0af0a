import pickle
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from scipy.io import savemat

from inverseform.data import Bsds500Params, open_dataset
from inverseform.data.bsds500 import annotation, annotators_of_shares
from inverseform.data.layout import LayoutError
from inverseform.settings import InputError
from tests.data.miniatures.bsds500 import ANNOTATORS, draw_mat, draw_shares, edges
from tests.data.miniatures.ingested import boundary_twin, ingested


def params(**changes):
    return Bsds500Params(**{"name": "bsds500", "layout": "mat", "annotator": "median", **changes})


@pytest.fixture
def raw(tmp_path):
    return tmp_path / "raw"


def by_name(drawn):
    return {name: everyone for names in drawn.values() for name, everyone in names.items()}


@pytest.mark.parametrize("place", ["BSR/BSDS500/data", "BSDS500/data", "."])
def test_regions_become_boundaries_and_all_annotators_edges(raw, tmp_path, place):
    drawn = draw_mat(raw, place=place)
    store = ingested(params(), raw, tmp_path / "samples")
    assert store.info.tasks == ("edges",)
    for split, names in drawn.items():
        assert store.names(split) == list(names)
        for index, everyone in enumerate(names.values()):
            sample = store.sample(split, index, tasks=["edges"])
            median = sorted(everyone, key=lambda each: len(np.unique(each)))[len(everyone) // 2]
            assert (sample.boundary[0].numpy() == boundary_twin(median + 1000)).all()
            assert sample.valid.all()
            target = sample.targets["edges"]
            assert (target.values.numpy() == np.stack([edges(each) for each in everyone])).all()
            assert target.valid.all()


@pytest.mark.parametrize("annotator", ["coarsest", "finest"])
def test_the_labels_are_of_the_annotator_that_is_asked_for(raw, annotator):
    drawn = by_name(draw_mat(raw))
    for source in open_dataset(params(annotator=annotator), raw).splits["test"]:
        order = sorted(drawn[source.name], key=lambda each: len(np.unique(each)))
        labels = source.read().labels
        assert (edges(labels) == edges(order[0 if annotator == "coarsest" else -1])).all()


def test_images_keep_their_bytes_and_other_files_do_not_count(raw):
    draw_mat(raw)
    dataset = open_dataset(params(), raw)
    assert dataset.expected == {"train": 200, "val": 100, "test": 200}
    source = dataset.splits["train"][0]
    assert source.read().encoded == (raw / "BSR/BSDS500/data/images/train" / f"{source.name}.jpg").read_bytes()


def test_shares_give_the_median_regions_and_edges_whose_mean_is_the_share(raw, tmp_path):
    drawn = by_name(draw_shares(raw))
    store = ingested(params(layout="shares"), raw, tmp_path / "samples")
    for split in ("train", "val", "test"):
        for index, name in enumerate(store.names(split)):
            sample = store.sample(split, index, tasks=["edges"])
            everyone = drawn[name]
            assert (sample.boundary[0].numpy() == boundary_twin(everyone[len(everyone) // 2] + 1000)).all()
            values = sample.targets["edges"].values
            assert len(values) == ANNOTATORS[name]
            share = np.mean([edges(each) for each in everyone], axis=0)
            assert torch.allclose(values.mean(dim=0), torch.from_numpy(share).float())


@pytest.mark.parametrize("count", range(1, 13))
def test_the_number_of_annotators_is_read_from_the_shares(count):
    # All that were drawn by somebody: k of n for every k that has no factor in common with n is enough.
    shares = np.round(255 * np.arange(count + 1) / count).astype(np.uint8)[None]
    assert annotators_of_shares(shares, source=Path("x")) == count


def test_shares_of_nobody_are_refused():
    with pytest.raises(InputError, match=r"x: its values are 0, 3, 7, .*shares of at most 12 people"):
        annotators_of_shares(np.array([[0, 3, 7, 255]], np.uint8), source=Path("x"))


def test_all_that_is_missing_is_told_at_once(raw):
    draw_mat(raw)
    data = raw / "BSR/BSDS500/data"
    (data / "groundTruth/train/100075.mat").unlink()
    (data / "images/val/101085.jpg").unlink()
    shutil.rmtree(data / "groundTruth/test")
    with pytest.raises(LayoutError) as caught:
        open_dataset(params(), raw)
    assert [problem.replace(f"{data}/", "") for problem in caught.value.problems] == [
        "images/train/100075.jpg: has no drawing of people in groundTruth/train",
        "images/val: has no *.jpg; copy the data set again",
        "groundTruth/test: there is no such folder; it must hold *.mat",
    ]


def test_shares_that_are_missing_are_all_told(raw):
    draw_shares(raw)
    (raw / "train/boundaries/100075.png").unlink()
    (raw / "test/segments/2018.png").unlink()
    with pytest.raises(LayoutError) as caught:
        open_dataset(params(layout="shares"), raw)
    assert [problem.replace(f"{raw}/", "") for problem in caught.value.problems] == [
        "train/images/100075.jpg: has no file of boundaries in train/boundaries",
        "test/images/2018.jpg: has no file of segments in test/segments",
    ]


def test_a_damaged_mat_is_refused_by_name(raw):
    draw_mat(raw)
    path = raw / "BSR/BSDS500/data/groundTruth/train/100075.mat"
    whole = path.read_bytes()
    source = open_dataset(params(), raw).splits["train"][0]
    for part in (whole[: len(whole) // 2], b"", b"no mat", whole[:140] + bytes(60) + whole[200:]):
        path.write_bytes(part)
        with pytest.raises(
            InputError, match=r"100075\.mat: (cannot be read as a MATLAB file|has no variable groundTruth)"
        ):
            source.read()


def test_a_mat_of_something_else_is_refused(raw):
    draw_mat(raw)
    path = raw / "BSR/BSDS500/data/groundTruth/train/100075.mat"
    source = open_dataset(params(), raw).splits["train"][0]
    cells = np.empty((1, 2), dtype=object)
    cells[0, 0] = {"Segmentation": np.ones((32, 48), np.uint16), "Boundaries": np.ones((32, 47), np.uint8)}
    cells[0, 1] = cells[0, 0]
    for held in ({"other": np.ones(3)}, {"groundTruth": np.ones((3, 3))}, {"groundTruth": cells}):
        savemat(path, held)
        with pytest.raises(
            InputError, match=r"100075\.mat: has no variable groundTruth|100075\.mat: holds no groundTruth as BSDS500"
        ):
            source.read()


def test_files_of_different_sizes_are_refused(raw):
    draw_mat(raw)
    source = open_dataset(params(), raw).splits["train"][0]
    Image.new("RGB", (48, 31)).save(raw / "BSR/BSDS500/data/images/train/100075.jpg")
    with pytest.raises(InputError, match=r"100075\.mat: is 48x32 and 100075\.jpg is 48x31"):
        source.read()


def test_shares_of_another_size_or_depth_are_refused(raw):
    draw_shares(raw)
    source = open_dataset(params(layout="shares"), raw).splits["train"][0]
    for wrong in (np.zeros((31, 48), np.uint8), np.zeros((32, 48), np.uint16)):
        Image.fromarray(wrong).save(raw / "train/boundaries/100075.png")
        with pytest.raises(InputError, match=r"boundaries/100075\.png: is of uint.*100075\.png in segments, 48x32"):
            source.read()


def test_without_scipy_the_official_archive_cannot_be_read_and_shares_can(raw, monkeypatch):
    draw_shares(raw)
    draw_mat(raw)
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(InputError, match=r"data\.layout is mat: scipy reads \.mat files and is missing; pip install"):
        open_dataset(params(), raw)
    assert open_dataset(params(layout="shares"), raw).splits["train"][0].read().targets["edges"].any()


@pytest.mark.parametrize("layout", ["mat", "shares"])
def test_a_source_can_be_sent_to_another_process(raw, layout):
    draw_mat(raw) if layout == "mat" else draw_shares(raw)
    source = open_dataset(params(layout=layout), raw).splits["val"][0]
    sent = pickle.loads(pickle.dumps(source)).read()
    assert (sent.labels == source.read().labels).all()


def test_shares_have_one_annotators_regions_only():
    with pytest.raises(ValidationError, match="annotator is finest and the layout shares has the median one"):
        params(layout="shares", annotator="finest")


@pytest.mark.parametrize("edges", [np.ones(5, np.uint8), np.zeros((0, 48), np.uint8), np.ones((4, 5, 2), np.uint8)])
def test_maps_of_one_axis_or_three_or_without_pixels_are_no_annotation(raw, edges):
    draw_mat(raw)
    path = raw / "BSR/BSDS500/data/groundTruth/train/100075.mat"
    cells = np.empty((1, 2), dtype=object)
    cells[0, :] = [{"Segmentation": edges.astype(np.uint16), "Boundaries": edges}] * 2
    savemat(path, {"groundTruth": cells}, oned_as="column")
    with pytest.raises(InputError, match=r"100075\.mat: holds no groundTruth as BSDS500 has it"):
        annotation(path, annotator="median")


def test_a_number_in_place_of_annotators_is_no_annotation(tmp_path):
    savemat(tmp_path / "a.mat", {"groundTruth": 3.0})
    with pytest.raises(InputError, match=r"a\.mat: holds no groundTruth as BSDS500 has it"):
        annotation(tmp_path / "a.mat", annotator="median")
