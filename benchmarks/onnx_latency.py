"""The exported network against torch: how long one image takes on a CPU.

    python -m benchmarks.onnx_latency [--architecture NAME] [--size PIXELS] [--runs N] [--threads N ...]

HRNet without its boundary head and with random weights, which cost what trained ones do, as `to_onnx` writes it and
`open_session` opens it, against the same network in torch, eager and in inference mode, with as many threads.

Prints medians of runs that take turns, so that a busy moment of the machine falls on both, and of the quotients of the
two runs of each turn.
"""

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import onnxruntime
import torch

from inverseform.export import to_onnx
from inverseform.inference import open_session
from inverseform.networks import HrnetParams, Segmenter, build

CLASSES, OPSET = 19, 20
Turn = tuple[float, float]
"""Milliseconds of torch and of onnxruntime, one after the other."""


def network(architecture: str) -> Segmenter:
    """HRNet with random weights, and statistics of its own features in its batch norms, as after training."""
    torch.manual_seed(0)
    params = {
        "name": "hrnet", "backbone": {"architecture": architecture, "pretrained": False}, "boundary_head": True,
        "boundary_feedback": False,
    }  # fmt: skip
    built = build(HrnetParams.model_validate(params), num_classes=CLASSES)
    with torch.no_grad():
        built.train()(torch.randn(2, 3, 128, 128))
    return built.without_boundary_head().eval()


def opened(path: Path, *, threads: int) -> onnxruntime.InferenceSession:
    """A session as in use where so many cores are given to the process, which is what `open_session` goes by."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(cores)[:threads])
    try:
        return open_session(path, provider="cpu")
    finally:
        os.sched_setaffinity(0, cores)


def turns(torch_run: Callable[[], object], onnx_run: Callable[[], object], *, runs: int) -> list[Turn]:
    """Times of both, run in turns, after two rounds that do not count; every other round the other way round."""
    found = []
    for number in range(runs + 2):
        times = [0.0, 0.0]
        order = ((0, torch_run), (1, onnx_run))
        for place, run in order if number % 2 else reversed(order):
            start = time.perf_counter()
            run()
            times[place] = 1000 * (time.perf_counter() - start)
        found.append((times[0], times[1]))
    return found[2:]


def main() -> None:
    """Print the machine and the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--architecture", default="hrnet_w18_small_v2")
    parser.add_argument("--size", type=int, default=512, help="pixels along each side of the image")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    given = parser.parse_args()
    segmenter = network(given.architecture)
    image = torch.randn(1, 3, given.size, given.size)
    print(f"{given.architecture}, {CLASSES} classes, one image of {given.size}x{given.size}, {given.runs} turns; "
          f"torch {torch.__version__}, onnxruntime {onnxruntime.__version__}, {platform.machine()}, "
          f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")  # fmt: skip
    print("| threads | torch, ms | onnxruntime, ms | onnxruntime / torch | largest difference of a logit |")
    print("|--:|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "network.onnx")
        to_onnx(segmenter, path, opset=OPSET, metadata={})
        for threads in given.threads:
            torch.set_num_threads(threads)
            session = opened(path, threads=threads)
            with torch.inference_mode():
                expected = segmenter(image).segmentation
                difference = (torch.from_numpy(session.run(None, {"image": image.numpy()})[0]) - expected).abs().max()
                found = turns(lambda: segmenter(image), lambda s=session: s.run(None, {"image": image.numpy()}),
                              runs=given.runs)  # fmt: skip
            eager, exported = (statistics.median(times) for times in zip(*found, strict=True))
            quotient = statistics.median(exported / eager for eager, exported in found)
            print(f"| {threads} | {eager:.1f} | {exported:.1f} | {quotient:.2f} | {difference:.1e} |", flush=True)


if __name__ == "__main__":
    main()
