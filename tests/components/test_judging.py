import pytest
import torch

from components.judging import answer, judge
from inverseform import networks
from inverseform.evaluation.images import hashed
from inverseform.inference import segment
from inverseform.metrics.segmentation import Confusion
from inverseform.scores import PLAIN, InferenceParams
from tests.drawn import sample_store

SEVERAL = InferenceParams(window=(64, 64), overlap=0.25, flip=True, scales=(0.5, 1.0))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return sample_store(tmp_path_factory.mktemp("samples") / "samples", train=1, val=5)


@pytest.fixture(scope="module")
def judged_by(store):
    """A network with fresh weights, without its boundary head, and its card."""
    backbone = networks.TimmHrnetParams(architecture="hrnet_w18_small_v2", pretrained=False)
    params = networks.HrnetParams(name="hrnet", backbone=backbone, boundary_head=False, boundary_feedback=False)
    torch.manual_seed(0)
    network = networks.build(params, num_classes=len(store.info.classes)).eval()
    # Fresh weights give every pixel the same class; without the mean of its logits, each class wins somewhere.
    with torch.no_grad():
        network.segmentation_head.classify.bias -= network(torch.randn(1, 3, 64, 64)).segmentation.mean((0, 2, 3))
    card = networks.Card(network=params, classes=store.info.classes, colours=store.info.colours, mean=(0.5, 0.5, 0.5),
                         std=(0.2, 0.2, 0.2), inverse_net=None, params="")  # fmt: skip
    return network, card


@pytest.mark.parametrize("inference", [PLAIN, SEVERAL])
def test_the_answer_is_that_of_segment_with_probabilities_that_agree(store, judged_by, inference):
    network, card = judged_by
    image = store.sample("val", 0).image
    with torch.inference_mode():
        predicted, probabilities = answer(network, card, image, inference=inference)
        twin = segment(lambda x: network(x).segmentation, image, mean=card.mean, std=card.std, inference=inference)
    assert torch.equal(predicted, twin)
    assert len(predicted.unique()) > 1
    assert torch.equal(probabilities.argmax(0).byte(), predicted)
    torch.testing.assert_close(probabilities.sum(0), torch.ones_like(probabilities[0]))


def test_each_sample_has_its_row_and_the_pictures_are_of_the_predictions(store, judged_by):
    network, card = judged_by
    found = judge(network, card, store, split="val", overlays=2, inference=PLAIN)
    assert found.images.names == tuple(store.names("val")) and found.images.split == "val"
    confusion, columns = Confusion(len(card.classes)), found.images.columns
    for index in range(5):
        sample = store.sample("val", index)
        with torch.inference_mode():
            predicted, _ = answer(network, card, sample.image, inference=PLAIN)
        confusion.update(predicted, sample.labels)
        assert found.images.labels[index] == hashed(sample.labels)
        [drawn] = [each for each in (*found.worst, *found.median) if each.name == sample.name] or [None]
        if drawn:
            share = (predicted == sample.labels)[sample.labels != 255].float().mean().item()
            assert drawn.accuracy == pytest.approx(share, abs=1e-6)
    assert torch.equal(found.confusion, confusion.counts)
    summed = found.images.counts.sum(0)
    assert summed[columns.groups["intersection"]].tolist() == confusion.counts.diagonal().tolist()


def test_the_worst_and_the_middle_are_chosen_by_their_boundary_accuracy(store, judged_by):
    found = judge(*judged_by, store, split="val", overlays=2, inference=PLAIN)
    place = found.images.columns.groups["mba"].start
    scores = dict(sorted(zip(found.images.names, found.images.counts[:, place].tolist(), strict=True),
                         key=lambda pair: (pair[1], pair[0])))  # fmt: skip
    assert [drawn.name for drawn in found.worst] == list(scores)[:2]
    assert [drawn.name for drawn in found.median] == list(scores)[2:3]


def test_where_no_pictures_are_asked_for_none_are_drawn(store, judged_by):
    found = judge(*judged_by, store, split="val", overlays=0, inference=PLAIN)
    assert found.worst == found.median == []
