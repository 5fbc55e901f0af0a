"""What `pyedgeeval` says of the files of benchmarks/edges.py, as one line of JSON; run by a Python that has it.

edgeenv/bin/python benchmarks/edges_peer.py PROCESSES FILE...
"""

import json
import sys
import time
from typing import Any

import numpy as np
from pyEdgeEval.common.binary_label import calculate_metrics  # pyright: ignore[reportMissingImports]
from pyEdgeEval.common.binary_label.evaluate_boundaries import (  # pyright: ignore[reportMissingImports]
    evaluate_boundaries_threshold_multiple_gts,
)

THRESHOLDS = [step / 100 for step in range(1, 100)]


def one(sample: dict[str, Any]) -> tuple[np.ndarray, ...]:
    """Its counts of one image."""
    with np.load(sample["name"]) as image:
        return evaluate_boundaries_threshold_multiple_gts(
            np.asarray(THRESHOLDS), image["probability"], image["annotators"].astype(np.uint8)
        )


def counted(sample: dict[str, Any]) -> tuple[np.ndarray, ...]:
    """The same, kept for the sums with the seconds of a core."""
    start = time.process_time()
    counts = one(sample)
    seconds = time.process_time() - start
    np.savez(f"{sample['name']}.counts.npz", counts=np.stack(counts, axis=1).astype(np.int64), seconds=seconds)
    return counts


def main() -> None:
    """Print the line."""
    processes, files = int(sys.argv[1]), sys.argv[2:]
    start = time.perf_counter()
    _, _, found = calculate_metrics(counted, THRESHOLDS, [{"name": file} for file in files], nproc=processes)
    seconds = time.perf_counter() - start
    kept = [np.load(f"{file}.counts.npz") for file in files]
    counts, of_cores = (np.sum([each[name] for each in kept], axis=0).tolist() for name in ("counts", "seconds"))
    # Its AUC is the area of the benchmark's program; its AP takes the greatest precision at each recall or beyond.
    answer = {"ods": found["ODS_f1"], "threshold": found["ODS_threshold"], "ois": found["OIS_f1"], "ap": found["AUC"]}
    scores = {name: float(value) for name, value in answer.items()}
    print(json.dumps({**scores, "seconds": seconds, "of_cores": of_cores, "counts": counts}))


if __name__ == "__main__":
    main()
