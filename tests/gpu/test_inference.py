"""An exported network on onnxruntime's CUDA provider."""

import numpy as np
import pytest
import torch

from inverseform.export import to_onnx
from inverseform.inference import OnnxSegmenter, open_session
from inverseform.networks.heads import HrnetV2Head
from inverseform.networks.segmenter import EncoderDecoder
from tests.drawn import MANIFEST
from tests.gpu.device import DEVICE
from tests.networks.tiny import TinyHrnet, settled

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    torch.manual_seed(0)
    heads = (HrnetV2Head((4, 4, 4, 4), outputs=outputs) for outputs in (len(MANIFEST.classes), 1))
    network = settled(EncoderDecoder(TinyHrnet(), *heads))
    path = tmp_path_factory.mktemp("onnx") / "tiny.onnx"
    to_onnx(network, path, opset=20, metadata=MANIFEST.properties())
    return network, path


def test_it_runs_on_the_gpu_and_nowhere_else(exported):
    providers = open_session(exported[1], provider=DEVICE.type).get_providers()
    assert providers[0] == {"cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}[DEVICE.type]


@pytest.mark.parametrize("size", [(1, 3, 96, 128), (2, 3, 45, 70)])
def test_its_logits_are_those_of_torch(exported, size):
    network, path = exported
    images = torch.randn(size)
    with torch.inference_mode():
        expected = network(images).segmentation
    found = torch.from_numpy(OnnxSegmenter(path, provider=DEVICE.type).logits(images.numpy()))
    # onnxruntime multiplies with 10 bits of mantissa (TF32) where the GPU can.
    torch.testing.assert_close(found, expected, rtol=0, atol=5e-3 * float(expected.abs().max()))


def test_its_classes_are_those_of_the_cpu_but_for_ties(exported):
    image = np.random.default_rng(0).integers(0, 256, (3, 90, 120), dtype=np.uint8)
    here, there = (OnnxSegmenter(exported[1], provider=name)(image) for name in (DEVICE.type, "cpu"))
    assert (here == there).mean() > 0.99
