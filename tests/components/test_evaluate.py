import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import confusion_matrix, jaccard_score

from components import stage
from components.evaluate import EvaluateParams, evaluate
from inverseform import networks, weights
from inverseform.boundary import BoundaryParams, boundaries
from inverseform.data.dataset import Reading, encode_png
from inverseform.data.sample_store import DatasetInfo, SampleStore, write_info, write_samples
from inverseform.data.stored_sample import stored
from inverseform.evaluation.figures import estimates
from inverseform.evaluation.images import read
from inverseform.metrics import GateParams
from inverseform.metrics.boundary import BoundaryAccuracy
from inverseform.scores import PLAIN, InferenceParams
from inverseform.settings import InputError
from tests.report.drawn import Reader
from tests.test_scores import twin

CLASSES = ("ground", "box", "ball")
COLOURS = ((90, 90, 90), (200, 60, 40), (40, 90, 200))
COUNTS = {"train": 1, "val": 3, "test": 0}


def scene(seed):
    """A box on the ground, at sizes no stride divides; scene 0 is the ground alone, scene 2 has ignored pixels."""
    random = np.random.default_rng(seed)
    labels = np.zeros((50 + seed, 71), dtype=np.uint8)
    if seed:
        top, left = random.integers(5, 20, 2)
        labels[top : top + 20, left : left + 30] = 1 + seed % 2
    if seed == 2:
        labels[:6] = 255
    image = (
        np.array([*COLOURS, (0, 0, 0)])[np.minimum(labels, 3)] + random.integers(0, 30, (*labels.shape, 3))
    ).astype(np.uint8)
    boundary, valid = boundaries(torch.from_numpy(labels)[None], num_classes=len(CLASSES))
    return stored(f"scene/{seed} <b>", Reading(encode_png(image), image, labels), boundary[0], valid[0])


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Samples, a network with fresh weights, and curves, as the stages before would have left them."""
    folder = tmp_path_factory.mktemp("inputs")
    info = DatasetInfo(
        source="drawn",
        classes=CLASSES,
        colours=COLOURS,
        boundary=BoundaryParams(operator="sobel", radius=1),
        counts=COUNTS,
    )
    (folder / "samples").mkdir()
    for split, count in COUNTS.items():
        write_samples(folder / "samples", info, split, [scene(number) for number in range(count)], shard_bytes=1 << 20)
    write_info(folder / "samples", info)
    save_segmenter(folder / "segmenter", classes=CLASSES)
    (folder / "curves.csv").write_text("step,total,boundary\n0,2.0,0.5\n5,1.0,0.25\n")
    return {"samples": folder / "samples", "segmenter": folder / "segmenter", "curves": folder / "curves.csv"}


def save_segmenter(folder, *, classes, seed=0):
    backbone = networks.TimmHrnetParams(architecture="hrnet_w18_small_v2", pretrained=False)
    params = networks.HrnetParams(name="hrnet", backbone=backbone, boundary_head=True, boundary_feedback=False)
    torch.manual_seed(seed)
    card = networks.Card(
        network=params, classes=classes, colours=COLOURS[: len(classes)], mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25),
        inverse_net="ab" * 32, params="cd" * 32,
    )  # fmt: skip
    network = networks.build(params, num_classes=len(classes)).eval()
    # Fresh weights give every pixel the same class; without the mean of its logits, each class wins somewhere.
    with torch.no_grad():
        network.segmentation_head.classify.bias -= network(torch.randn(1, 3, 64, 64)).segmentation.mean((0, 2, 3))
    networks.save(folder, network, card)


def settings(*, split="val", overlays=2, miou=0.0, mba=0.0, inference=PLAIN):
    gate = GateParams(miou=miou, mba=mba)
    return EvaluateParams(split=split, overlays=overlays, inference=inference, gate=gate)


def outputs(folder):
    names = {"metrics": "metrics.json", "gate": "gate.json", "images": "images.csv", "plots": "plots",
             "report": "report.html"}  # fmt: skip
    return {port: folder / name for port, name in names.items()}


@pytest.fixture(scope="module")
def evaluated(inputs, tmp_path_factory):
    """The stage's outputs and its report."""
    made = outputs(tmp_path_factory.mktemp("reports"))
    return made, stage.run(evaluate, settings(), {**inputs, **made})


def test_figures_are_those_of_the_predictions_pooled_over_the_split(inputs, evaluated):
    store, (network, card) = SampleStore.open(inputs["samples"]), networks.load(inputs["segmenter"])
    labels, predicted, boundary = [], [], BoundaryAccuracy()
    for index in range(store.size("val")):
        sample = store.sample("val", index)
        with torch.no_grad():
            images = networks.normalise(sample.image[None], mean=card.mean, std=card.std)
            found = network(images).segmentation.argmax(1)[0].byte()
        boundary.update(found, sample.labels)
        labels.append(sample.labels[sample.labels != 255])
        predicted.append(found[sample.labels != 255])
    actual, guessed = torch.cat(labels).numpy(), torch.cat(predicted).numpy()
    assert len(np.unique(guessed)) > 1
    iou = jaccard_score(actual, guessed, average=None, labels=range(3), zero_division=0)
    made, report = evaluated
    metrics = json.loads(made["metrics"].read_text())
    assert metrics["pixel_accuracy"] == pytest.approx((actual == guessed).mean(), abs=1e-3)
    assert [metrics["iou"][name] for name in CLASSES] == pytest.approx(iou, abs=1e-3)
    assert metrics["miou"] == pytest.approx(iou.mean(), abs=1e-3)
    assert metrics["mba"] == pytest.approx(boundary.scores().mba, abs=1e-3)
    assert metrics["images"] == 3
    assert metrics["images_without_boundary"] == 1
    assert report["miou"] == metrics["miou"]
    assert report["confusion"] == {"classes": list(CLASSES), "counts": confusion_matrix(actual, guessed).tolist()}


def test_windows_flips_and_scales_are_used_and_shown(inputs, evaluated, tmp_path):
    inference = InferenceParams(window=(32, 48), overlap=0.25, flip=True, scales=(0.5, 1.0))
    made = outputs(tmp_path)
    report = stage.run(evaluate, settings(overlays=0, inference=inference), {**inputs, **made})
    store, (network, card) = SampleStore.open(inputs["samples"]), networks.load(inputs["segmenter"])
    right = []
    with torch.no_grad():
        for sample in (store.sample("val", index) for index in range(store.size("val"))):
            images = networks.normalise(sample.image[None], mean=card.mean, std=card.std)
            found = twin(lambda x: network(x).segmentation, images, inference).argmax(1)[0]
            right.append((found == sample.labels)[sample.labels != 255])
    assert report["pixel_accuracy"] == pytest.approx(torch.cat(right).float().mean().item(), abs=1e-3)
    assert report["pixel_accuracy"] != pytest.approx(evaluated[1]["pixel_accuracy"], abs=2e-3)
    page = made["report"].read_text()
    for wanted in ("overlap", "0.25", "scales", "flip"):
        assert wanted in page


def test_the_gate_names_the_network_it_was_held_against(inputs, evaluated):
    made, report = evaluated
    gate = json.loads(made["gate"].read_text())
    assert gate["segmenter"] == weights.digest(inputs["segmenter"])
    assert gate["passed"] is report["passed"] is True
    assert [(check["metric"], check["threshold"]) for check in gate["checks"]] == [("miou", 0.0), ("mba", 0.0)]


def test_a_gate_not_passed_is_told_and_stops_nothing(inputs, tmp_path, caplog):
    made = outputs(tmp_path)
    report = stage.run(evaluate, settings(miou=1.0), {**inputs, **made})
    assert report["passed"] is False
    assert json.loads(made["gate"].read_text())["passed"] is False
    assert "the gate is NOT passed: miou is" in caplog.text
    assert "The gate is not passed" in made["report"].read_text()


def test_plots_are_what_dvc_draws(evaluated):
    made, _ = evaluated
    rows = list(csv.DictReader((made["plots"] / "confusion.csv").read_text().splitlines()))
    assert 4000 < len(rows) <= 5000
    assert set(rows[0]) == {"actual", "predicted"}
    assert {row["actual"] for row in rows} <= set(CLASSES)
    near = list(csv.DictReader((made["plots"] / "boundary_accuracy.csv").read_text().splitlines()))
    assert [row["pixels"] for row in near] == list(map(str, range(1, 11)))


def test_the_worst_samples_are_drawn_first_and_no_more_than_asked(inputs, evaluated):
    made, _ = evaluated
    pictures = sorted((made["plots"] / "overlays").iterdir())
    # The scene without a boundary has no boundary accuracy, and comes last of three.
    assert {picture.name for picture in pictures} <= {f"0{rank}_scene_{n}_b_.png" for rank in (1, 2) for n in (1, 2)}
    assert len(pictures) == 2
    with Image.open(pictures[0]) as picture:
        assert picture.size[0] == 4 * 71 + 3 * 6


def test_the_report_holds_curves_hashes_and_samples(inputs, evaluated):
    page = evaluated[0]["report"].read_text()
    for wanted in ("<b>total</b>", "ab" * 32, "cd" * 32, weights.digest(inputs["segmenter"]), "drawn, split val"):
        assert wanted in page
    # Two of the worst; the one sample that is left has no boundary, and so is not in the middle of anything.
    assert page.count("<img") == 2 * 4
    assert "scene/1 &lt;b&gt;" in page


def test_a_second_run_writes_the_same_bytes(inputs, evaluated, tmp_path):
    made = outputs(tmp_path)
    stage.run(evaluate, settings(), {**inputs, **made})
    for port in ("metrics", "gate", "images", "report"):
        assert made[port].read_bytes() == evaluated[0][port].read_bytes()
    for picture in (made["plots"] / "overlays").iterdir():
        assert picture.read_bytes() == (evaluated[0]["plots"] / "overlays" / picture.name).read_bytes()


def test_no_overlays_are_drawn_where_none_are_asked_for(inputs, tmp_path):
    made = outputs(tmp_path)
    stage.run(evaluate, settings(overlays=0), {**inputs, **made})
    assert "<img" not in made["report"].read_text()
    assert list((made["plots"] / "overlays").iterdir()) == []


def test_a_segmenter_of_other_classes_is_refused_and_nothing_written(inputs, tmp_path):
    save_segmenter(tmp_path / "other", classes=("ground", "ball", "box"))
    made = outputs(tmp_path / "reports")
    with pytest.raises(
        InputError, match=r"other was trained for the classes ground, ball, box and .* ground, box, ball"
    ):
        stage.run(evaluate, settings(), {**inputs, "segmenter": tmp_path / "other", **made})
    assert list((tmp_path / "reports").iterdir()) == []


def test_an_empty_split_is_refused_with_the_splits_that_are_not(inputs, tmp_path):
    with pytest.raises(InputError, match=r"evaluate.split is test .*\(train, val\) in params.yaml"):
        stage.run(evaluate, settings(split="test"), {**inputs, **outputs(tmp_path)})


def test_every_number_of_the_metrics_stands_in_the_report(evaluated):
    metrics, page = json.loads(evaluated[0]["metrics"].read_text()), Reader(evaluated[0]["report"].read_text())
    shares = [value for value in (*metrics.values(), *metrics["iou"].values()) if isinstance(value, float)]
    assert len(shares) > 15
    for value in shares:
        assert f"{100 * value:.1f} %" in page.text
    for low, high in metrics["interval_95"].values():
        assert f"{100 * low:.1f} to {100 * high:.1f} %" in page.text
    assert "1 of the 3 images have no boundary" in page.text
    assert "https:" not in (text := evaluated[0]["report"].read_text()) and "http:" not in text


def test_the_table_of_images_adds_up_to_the_metrics(evaluated):
    made, _ = evaluated
    images, metrics = read(made["images"]), json.loads(made["metrics"].read_text())
    assert images.names == ("scene/0 <b>", "scene/1 <b>", "scene/2 <b>") and images.split == "val"
    for name, estimate in estimates(images).items():
        if " " not in name:
            assert metrics[name] == estimate.value
            assert metrics["interval_95"][name] == [estimate.low, estimate.high]


def test_against_itself_nothing_differs_and_the_report_says_so(inputs, evaluated, tmp_path):
    made = outputs(tmp_path)
    stage.run(evaluate, settings(overlays=0), {**inputs, **made, "against": evaluated[0]["metrics"]})
    page = Reader(made["report"].read_text()).text
    assert "on the same 3 images" in page and "+0.00 (+0.00 to +0.00) not clear" in page
    assert not {"better", "worse"} & set(page.split("interval leaves out 0")[1].split("Accuracy beside")[0].split())
    for port in ("metrics", "gate", "images"):
        assert made[port].read_bytes() == evaluated[0][port].read_bytes()


def test_against_another_network_differences_are_those_of_the_metrics(inputs, evaluated, tmp_path):
    save_segmenter(tmp_path / "other", classes=CLASSES, seed=1)
    made = outputs(tmp_path)
    given = {**inputs, **made, "segmenter": tmp_path / "other", "against": evaluated[0]["metrics"].parent}
    report = stage.run(evaluate, settings(overlays=0), given)
    page, earlier = Reader(made["report"].read_text()).text, evaluated[1]
    row = f"Mean IoU {100 * earlier['miou']:.1f} % {100 * report['miou']:.1f} % "
    assert f"{row}{100 * (report['miou'] - earlier['miou']):+.2f} (" in page
    assert report["miou"] != earlier["miou"]


def test_another_split_is_refused_before_anything_is_judged(inputs, evaluated, tmp_path):
    made = outputs(tmp_path / "reports")
    text = evaluated[0]["images"].read_text()
    (tmp_path / "images.csv").write_text(text.replace("\nval,", "\ntest,"))
    given = {**inputs, **made, "against": tmp_path}
    with pytest.raises(InputError, match=r"split test there and val here"):
        stage.run(evaluate, settings(), given)
    assert list((tmp_path / "reports").iterdir()) == []
