"""Make the universal inverse network that comes with the package, from drawn scenes alone.

    python -m benchmarks.universal --work DIR [--install]

Stage by stage, as the pipeline runs them, with the settings of `recipes/universal.yaml`: scenes are drawn; a
segmentation network is trained with cross entropy on other scenes, and its boundary predictions for the first ones
become a share of the pairs; the inverse network is trained on these and has to pass its gate. What is there is not
made again, and the trainings go on from their checkpoints: run it again after an interruption. `--install` puts the
network into the package, in 16-bit floats. About two hours on two cores.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from inverseform import inverse_net
from inverseform.inverse_net import PRETRAINED

RECIPE = Path(__file__).parents[1] / "recipes" / "universal.yaml"
OTHERS = {"data": {"name": "procedural", "train": 600, "val": 20, "test": 10, "size": [384, 512], "seed": 77}}
"""Scenes of the segmentation network: it predicts for scenes that it was not trained on."""
SEGMENTER = {
    "loss": {"beta": 0.3, "gamma": 0.0, "distance": "euclidean"},
    "optimiser": {"name": "adamw", "learning_rate": 0.002, "weight_decay": 0.05, "steps": 350, "batch": 4,
                  "warm_up": 30, "schedule": "poly", "seed": 1},
}  # fmt: skip

PREDICTED = {"predicted": 0.25}


def run(module: str, made: Path, *arguments: str | Path) -> None:
    """Run a stage if what it makes is not there; it makes that whole or not at all.

    Raises:
        SystemExit: The stage failed; it has said why.
    """
    if made.exists():
        print(f"{made}: is there")
        return
    command = [sys.executable, "-m", module, *map(str, arguments)]
    print(" ".join(command[1:]), flush=True)
    if code := subprocess.run(command, check=False).returncode:
        sys.exit(code)


def main() -> None:
    """Make the network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for all that is made on the way")
    parser.add_argument("--install", action="store_true", help="replace the network of the package by the new one")
    given = parser.parse_args()
    work: Path = given.work
    (work / "raw").mkdir(parents=True, exist_ok=True)
    scenes, others, segmenter = work / "scenes", work / "others", work / "segmenter"
    predicted, pairs, net = work / "predicted", work / "pairs", work / "inverse_net"

    run(
        "components.ingest", scenes, *_settings(), "--raw", work / "raw", "--samples", scenes,
        "--checkpoints", work / "checkpoints",
    )  # fmt: skip
    run(
        "components.ingest", others, *_settings(OTHERS), "--raw", work / "raw", "--samples", others,
        "--checkpoints", work / "checkpoints",
    )  # fmt: skip
    run(
        "components.train_segmentation", segmenter, *_settings(SEGMENTER), "--samples", others,
        "--inverse-net", PRETRAINED, "--segmenter", segmenter, "--metrics", work / "segmenter.json",
        "--curves", work / "segmenter.csv", "--checkpoints", work / "checkpoints",
    )  # fmt: skip
    run(
        "benchmarks.predictions", predicted / "dataset.json", "--samples", scenes, "--segmenter", segmenter,
        "--store", predicted, "--splits", "train", "val",
    )  # fmt: skip
    run(
        "components.synthesize", pairs, *_settings(PREDICTED), "--samples", predicted, "--pairs", pairs,
        "--checkpoints", work / "checkpoints",
    )  # fmt: skip
    run(
        "components.train_inverse", net, *_settings(), "--pairs", pairs, "--inverse-net", net,
        "--metrics", work / "inverse_net.json", "--curves", work / "inverse_net.csv", "--report", work / "report",
        "--checkpoints", work / "checkpoints",
    )  # fmt: skip
    if given.install:
        card = (PRETRAINED / "MODEL_CARD.md").read_bytes()
        inverse_net.save(PRETRAINED, inverse_net.load(net), half=True)
        (PRETRAINED / "MODEL_CARD.md").write_bytes(card)


def _settings(overrides: dict[str, Any] | None = None) -> list[str | Path]:
    changed = ["--overrides", json.dumps(overrides)] if overrides else []
    return ["--params", RECIPE, *changed]


if __name__ == "__main__":
    main()
