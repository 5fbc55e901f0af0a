"""What each process of a group does for test_exchange: trainings one after the other; started by torchrun.

Each process has a folder of its own, as on machines that share no disk.
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch

from inverseform.settings import InputError
from inverseform.training import loop
from inverseform.training.launch import PLAIN, launch
from inverseform.training.loop import Validation
from tests.training import toy

PARAMS = toy.with_(batch=8, accumulate=2, ema=0.9, clip=0.5)


def score(model):
    batch = torch.randn(16, 6, generator=torch.Generator().manual_seed(999))
    return {"val_near": -(model(batch) - batch[:, :2]).square().mean().item()}


def run(folder, **options):
    options = {
        "model": toy.plain_network(),
        "params": PARAMS,
        "validation": Validation(5, "val_near", score),
        **options,
    }
    weights, step = toy.run(folder, **options)
    return {"weights": weights.tolist(), "history": step.history, "best": [step.best.step, step.best.figures]}


def only_at(rank, call, do):
    """A loss that does something before one of its calls, on one process."""
    calls = iter(range(1000))

    def loss(model, batch):
        terms = toy.loss(model, batch)
        if next(calls) == call and int(os.environ["RANK"]) == rank:
            return do(terms)
        return terms

    return loss


def terminate(terms):
    os.kill(os.getpid(), signal.SIGTERM)
    return terms


def tell(error, folder, **options):
    """What a run is stopped by."""
    try:
        run(folder, **options)
    except error as stopped:
        return stopped.code if isinstance(stopped, SystemExit) else str(stopped)


def main(folder):
    machine = launch(PLAIN)
    own = folder / f"process-{machine.rank}"
    told = {"rank": machine.rank, "processes": machine.processes, "whole": run(own / "whole")}
    # Two calls a step: the first micro-batch of the fourth step.
    told["stopped"] = tell(SystemExit, own / "parts", loss=only_at(1, 6, terminate))
    told["left"] = sorted(path.name for path in (own / "parts").glob("*"))
    told["refused"] = tell(InputError, own / "parts", settings={"run": 2})
    told["parts"] = run(own / "parts", model=toy.plain_network(seed=7))
    bad = only_at(1, 3, lambda terms: {**terms, "near": terms["near"] * torch.nan})
    told["not finite"] = tell(InputError, own / "bad", loss=bad)
    (folder / f"{machine.rank}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    torch.set_num_threads(1)
    loop.EVERY = 1e9
    main(Path(sys.argv[1]))
