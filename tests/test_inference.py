from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx import TensorProto, helper, numpy_helper

from inverseform.inference import OnnxSegmenter, open_session, segment
from inverseform.networks import normalise
from inverseform.scores import PLAIN, InferenceParams, class_scores
from inverseform.settings import InputError
from tests.drawn import MANIFEST, MEAN, STD


def onnx_file(path: Path, *, properties: dict[str, str] | None = None, classes: int = 3, side: int = 1) -> Path:
    """A real ONNX network of one convolution with fixed weights, padded to the size of its input."""
    weights = np.random.default_rng(0).standard_normal((classes, 3, side, side)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "weights"], ["logits"], pads=[side // 2] * 4)],
        "network",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, "height", "width"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", classes, "height", "width"])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, MANIFEST.properties() if properties is None else properties)
    onnx.save(model, path)
    return path


def torch_network(path: Path):
    """The same network in torch."""
    weights = torch.from_numpy(numpy_helper.to_array(onnx.load(path).graph.initializer[0]).copy())
    return lambda images: F.conv2d(images, weights, padding=weights.shape[-1] // 2)


images = arrays(np.uint8, st.tuples(st.just(3), st.integers(1, 9), st.integers(1, 9)))


@settings(deadline=None, max_examples=30)
@given(image=images)
def test_numpy_and_torch_give_the_same_classes(image):
    weights = np.random.default_rng(1).standard_normal((5, 3)).astype(np.float32)
    by_numpy = segment(lambda x: np.einsum("kc,bchw->bkhw", weights, x), image, mean=MEAN, std=STD)
    by_torch = segment(
        lambda x: torch.einsum("kc,bchw->bkhw", torch.from_numpy(weights), x),
        torch.from_numpy(image), mean=MEAN, std=STD,
    )  # fmt: skip
    assert by_numpy.dtype == np.uint8 and by_torch.dtype == torch.uint8
    assert by_numpy.shape == image.shape[1:]
    # A tie may fall either way by rounding: random weights give none but between equal pixels of equal sums.
    assert np.array_equal(by_numpy, by_torch.numpy())


@settings(deadline=None, max_examples=30)
@given(image=images)
def test_a_network_is_given_what_it_was_trained_on(image):
    given_to = []

    def network(batch):
        given_to.append(batch)
        return batch

    segment(network, image, mean=MEAN, std=STD)
    segment(network, torch.from_numpy(image), mean=MEAN, std=STD)
    trained_on = normalise(torch.from_numpy(image)[None], mean=MEAN, std=STD)
    assert given_to[0].dtype == np.float32
    assert np.array_equal(given_to[0], trained_on.numpy())
    assert torch.equal(given_to[1], trained_on)


WAYS = [
    PLAIN,
    InferenceParams(window=(24, 32), overlap=0.25, flip=False, scales=(1.0,)),
    InferenceParams(window=None, overlap=0.0, flip=True, scales=(1.0,)),
    InferenceParams(window=None, overlap=0.0, flip=False, scales=(0.7,)),
    InferenceParams(window=(60, 33), overlap=1 / 3, flip=True, scales=(0.5, 1.0, 1.75)),
]


@pytest.mark.parametrize("inference", WAYS, ids=["plain", "windows", "flip", "scale", "all of them"])
def test_the_file_without_torch_gives_what_evaluation_gives_in_torch(tmp_path, inference):
    path = onnx_file(tmp_path / "network.onnx", side=5)
    image = np.random.default_rng(3).integers(0, 256, (3, 53, 71), np.uint8)
    exported = OnnxSegmenter(path)
    normalised = normalise(torch.from_numpy(image)[None], mean=MEAN, std=STD)
    by_torch = class_scores(torch_network(path), normalised, inference=inference)
    by_file = class_scores(exported.logits, normalised.numpy(), inference=inference)
    # Logits of this network go up to 30 and more, and the two libraries add their products in another order.
    assert np.abs(by_file - by_torch.numpy()).max() < 1e-5 * max(1.0, float(by_torch.abs().max()))
    in_torch = segment(torch_network(path), torch.from_numpy(image), mean=MEAN, std=STD, inference=inference)
    assert np.array_equal(exported(image, inference=inference), in_torch.numpy())
    # Another way of looking is another answer, or this would show nothing.
    assert (inference == PLAIN) == np.array_equal(exported(image), in_torch.numpy())


def test_an_image_too_large_for_memory_is_named_with_its_size(tmp_path):
    image = np.broadcast_to(np.uint8(0), (3, 1 << 23, 1 << 22))  # 2^48 bytes in 32 bits: more than there are addresses
    with pytest.raises(InputError, match=r"image of 4194304 x 8388608: does not fit in memory .+ or a window"):
        OnnxSegmenter(onnx_file(tmp_path / "network.onnx"))(image)


def test_a_file_is_used_with_the_normalisation_it_holds(tmp_path):
    image = np.random.default_rng(2).integers(0, 256, (3, 7, 11), np.uint8)
    network = OnnxSegmenter(onnx_file(tmp_path / "network.onnx"))
    weights = np.random.default_rng(0).standard_normal((3, 3, 1, 1)).astype(np.float32)[..., 0, 0]
    by_hand = [
        [np.argmax(weights @ ((image[:, y, x] / 255 - MEAN) / STD)) for x in range(11)] for y in range(7)
    ]  # fmt: skip
    assert np.array_equal(network(image), by_hand)


def test_metadata_comes_back_as_it_was_written(tmp_path):
    network = OnnxSegmenter(onnx_file(tmp_path / "network.onnx"))
    assert network.manifest == MANIFEST


def test_keys_that_others_add_are_let_be(tmp_path):
    path = onnx_file(tmp_path / "network.onnx", properties={**MANIFEST.properties(), "author": "somebody"})
    assert OnnxSegmenter(path).manifest == MANIFEST


@pytest.mark.parametrize("content", [b"", b"no network", b"\x08\x0a\x12\x07pytorch"])
def test_what_is_no_onnx_file_is_refused(tmp_path, content):
    path = tmp_path / "network.onnx"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"network\.onnx: not a file that onnxruntime reads \(.+\); name an ONNX file"):
        OnnxSegmenter(path)


def test_a_file_that_was_cut_short_is_refused(tmp_path):
    path = onnx_file(tmp_path / "network.onnx")
    path.write_bytes(path.read_bytes()[:90])
    with pytest.raises(InputError, match="not a file that onnxruntime reads"):
        OnnxSegmenter(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError) as raised:
        OnnxSegmenter(tmp_path / "absent.onnx")
    assert raised.value.filename == str(tmp_path / "absent.onnx")


def test_an_onnx_file_of_others_is_refused(tmp_path):
    with pytest.raises(InputError, match="metadata holds format None"):
        OnnxSegmenter(onnx_file(tmp_path / "network.onnx", properties={}))


def test_another_version_of_the_metadata_is_refused(tmp_path):
    properties = {**MANIFEST.properties(), "format": "inverseform.onnx/99"}
    with pytest.raises(InputError, match=r"inverseform\.onnx/99.+was expected"):
        OnnxSegmenter(onnx_file(tmp_path / "network.onnx", properties=properties))


@pytest.mark.parametrize("change", [{"mean": "[0.1"}, {"std": "[0, 1, 1]"}, {"classes": '["one"]'}, {"colours": "7"}])
def test_changed_metadata_is_refused(tmp_path, change):
    with pytest.raises(InputError, match="metadata was changed since the export"):
        OnnxSegmenter(onnx_file(tmp_path / "network.onnx", properties={**MANIFEST.properties(), **change}))


def test_as_many_logits_as_classes(tmp_path):
    with pytest.raises(InputError, match="4 logits a pixel and 3 classes"):
        OnnxSegmenter(onnx_file(tmp_path / "network.onnx", classes=4))


def test_a_session_runs_where_it_was_asked_to_or_not_at_all(tmp_path, capfd):
    path = onnx_file(tmp_path / "network.onnx")
    assert open_session(path, provider="cpu").get_providers() == ["CPUExecutionProvider"]
    try:
        session = open_session(path, provider="cuda")
    except InputError as error:
        # Without a GPU onnxruntime falls back silently (its GPU build), or has nothing to fall back from.
        assert "provider cuda: onnxruntime" in str(error) and "ask for cpu" in str(error)
    else:
        assert session.get_providers()[0] == "CUDAExecutionProvider"
    assert capfd.readouterr() == ("", "")
