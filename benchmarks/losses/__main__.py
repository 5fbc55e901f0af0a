"""Train and score every loss of the comparison; what the ledger has is not run again.

    python -m benchmarks.losses --samples STORE --work DIR --ledger docs/losses.jsonl --tune
    python -m benchmarks.losses --samples STORE --work DIR --ledger docs/losses.jsonl --seeds 5:20 --width 0.5

The first line chooses weight and start of each loss on val, the second runs them with seeds of their own on test. Both
can be stopped at any time, and go on run by run. `python -m benchmarks.losses.report` makes the table and the figure.
"""

import argparse
import sys
from pathlib import Path
from typing import get_args

import torch

from benchmarks.losses.arms import arms
from benchmarks.losses.comparison import Comparison
from benchmarks.losses.ledger import Ledger
from benchmarks.losses.params import Mode, parsed
from inverseform.settings import InputError


def main() -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=Path, required=True, help="a sample store, as ingest writes it")
    parser.add_argument("--work", type=Path, required=True, help="folder for the weights that all losses start from")
    parser.add_argument("--ledger", type=Path, required=True, help="the rows, a line of JSON a run")
    parser.add_argument("--tune", action="store_true", help="choose a trial of each loss on val, and end")
    parser.add_argument("--mode", choices=get_args(Mode), default="finetune", help="from a shared base, or all the way")
    parser.add_argument(
        "--choices", choices=get_args(Mode), help="the mode whose chosen trials are run; that of --mode"
    )
    parser.add_argument("--losses", nargs="*", metavar="NAME", help="which, beside cross entropy; all by default")
    parser.add_argument(
        "--inverse-net", action="append", default=[], metavar="NAME=DIR", help="one more for InverseForm"
    )
    parser.add_argument("--split", default="test", help="what the chosen trials are scored on (default: %(default)s)")
    parser.add_argument("--seeds", type=_range, default=(5, 5), metavar="LEAST[:MOST]", help="(default: 5)")
    parser.add_argument("--width", type=float, default=0.0, help="of the interval in points of mBA that is enough")
    parser.add_argument("--settings", default="{}", help="a JSON object of settings to change, see params.py")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU (default: %(default)s)")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    try:
        _run(given)
    except (InputError, OSError) as error:
        sys.exit(f"losses: {error}")


def _run(given: argparse.Namespace) -> None:
    known = arms(dict(_named_folder(each) for each in given.inverse_net))
    names = given.losses or list(known)
    for name in names:
        if name not in known:
            raise InputError(f"--losses {name}: there is no such loss; name some of {', '.join(known)}")
    comparison = Comparison(
        parsed(given.settings), samples=given.samples, work=given.work, ledger=Ledger(given.ledger), mode=given.mode,
        choices=given.mode if given.tune else given.choices or given.mode, known=known,
    )  # fmt: skip
    if given.tune:
        comparison.tune(names)
        return
    if given.split not in comparison.store.splits:
        raise InputError(f"--split {given.split}: the samples have {', '.join(comparison.store.splits)}; name one")
    least, most = given.seeds
    comparison.compare(names, split=given.split, least=least, most=most, width=given.width)


def _range(text: str) -> tuple[int, int]:
    least, _, most = text.partition(":")
    found = int(least), int(most or least)
    if not 1 <= found[0] <= found[1] < 1000:
        raise argparse.ArgumentTypeError(f"{text}: at least one seed, at most 999, as 5 or 5:20")
    return found


def _named_folder(text: str) -> tuple[str, Path]:
    name, equals, folder = text.partition("=")
    if not (name.isidentifier() and equals and folder):
        raise InputError(f"--inverse-net {text}: a name and the folder of an inverse network; write siamese=DIR")
    return name, Path(folder)


if __name__ == "__main__":
    main()
