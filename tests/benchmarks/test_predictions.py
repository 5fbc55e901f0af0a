import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.predictions import Predictor, probabilities, write, write_store
from inverseform import networks
from inverseform.data.dataset import decode_map
from inverseform.data.sample_store import SampleStore
from inverseform.settings import InputError
from tests.drawn import CLASSES, sample_store


def save_segmenter(folder, *, boundary_head=True):
    backbone = networks.TimmHrnetParams(architecture="hrnet_w18_small_v2", pretrained=False)
    params = networks.HrnetParams(name="hrnet", backbone=backbone, boundary_head=boundary_head, boundary_feedback=False)
    torch.manual_seed(0)
    card = networks.Card(
        network=params, classes=tuple("abcd"), colours=((0, 0, 0),) * CLASSES, mean=(0.4, 0.5, 0.6),
        std=(0.2, 0.3, 0.25), inverse_net=None, params="cd" * 32,
    )  # fmt: skip
    network = networks.build(params, num_classes=CLASSES).eval()
    if boundary_head:
        # Fresh weights are sure that there is no boundary; without the mean of their logits they waver.
        with torch.no_grad():
            network.boundary_head.classify.bias -= network(torch.randn(1, 3, 64, 64)).boundary.mean()
    networks.save(folder, network, card)
    return folder


def test_every_image_gets_its_probabilities_at_its_size_in_the_folder_that_ingest_reads(tmp_path):
    # At a width that no stride divides.
    store = sample_store(tmp_path / "samples", train=2, val=1, height=50, width=71)
    segmenter = save_segmenter(tmp_path / "segmenter")
    predictor = Predictor(tmp_path / "samples", segmenter)
    write(predictor, tmp_path / "raw", splits=store.splits)
    write_store(predictor, tmp_path / "again", splits=store.splits)
    again = SampleStore.open(tmp_path / "again")
    network, card = networks.load(segmenter)
    for split, count in store.info.counts.items():
        assert len(list((tmp_path / "raw" / split / "predictions").iterdir())) == count
        for index in range(count):
            sample = store.sample(split, index)
            picture = Image.open(tmp_path / "raw" / split / "predictions" / f"{sample.name}.png")
            assert picture.mode == "L"
            expected = probabilities(network, card, sample)
            assert expected.shape == sample.boundary.shape
            assert np.abs(np.asarray(picture) / 255 - expected[0].numpy()).max() <= 0.5 / 255 + 1e-6
            assert len(np.unique(picture)) > 1
            row = again.row(split, index)
            assert row._replace(prediction=None) == store.row(split, index)
            assert np.array_equal(decode_map(row.prediction, source=""), np.asarray(picture))


def test_a_network_without_a_boundary_head_and_a_split_that_is_not_there_are_refused(tmp_path):
    sample_store(tmp_path / "samples", train=1, val=0, height=32, width=32)
    segmenter = save_segmenter(tmp_path / "segmenter", boundary_head=False)
    predictor = Predictor(tmp_path / "samples", segmenter)
    with pytest.raises(InputError, match=r"has no boundary head; train it with network\.boundary_head: true"):
        write(predictor, tmp_path / "raw", splits=["train"])
    with pytest.raises(InputError, match=r"--splits tset: .* have train, val; name some of them"):
        write_store(predictor, tmp_path / "again", splits=["tset"])
