"""Which trainings there are, and which of them the ledger still lacks."""

import fcntl
import hashlib
import platform
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property, lru_cache
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from benchmarks.losses.arms import CROSS_ENTROPY, Arm, Trial, arms
from benchmarks.losses.ledger import Ledger, Row
from benchmarks.losses.paired import difference
from benchmarks.losses.params import ComparisonParams, Mode, Phase
from benchmarks.losses.pictures import Pictures
from benchmarks.losses.scoring import score
from benchmarks.losses.training import Trainer
from inverseform.data.sample_store import SampleStore
from inverseform.data.stored_sample import decoded
from inverseform.networks import Segmenter
from inverseform.settings import InputError
from inverseform.training.checkpoint import fingerprint

_SHARED = ("network", "augment", "batch", "weight_decay", "precision")
_PHASES: dict[Mode, tuple[str, ...]] = {"finetune": ("base", "finetune"), "full": ("full",)}
_Kind = str
"""trial: a run on val that a trial is chosen by; score: one of the comparison."""


class Comparison:
    """Runs of losses on the samples of a store, each written to the ledger when it is done.

    Raises:
        FileNotFoundError: There is no such store.
        InputError: It is none.
    """

    def __init__(
        self, params: ComparisonParams, *, samples: Path, work: Path, ledger: Ledger, mode: Mode, choices: Mode,
        known: dict[str, Arm] | None = None,
    ) -> None:  # fmt: skip
        self.params, self.work, self.ledger = params, work, ledger
        self.mode: Mode = mode
        self.choices: Mode = choices
        self.arms = known or arms()
        self.store = SampleStore.open(samples)
        self.data = contents(self.store)
        self.pictures = lru_cache(maxsize=None)(lambda split: Pictures(self.store, split))

    def settings(self, mode: Mode) -> dict[str, Any]:
        """What decides how a run of a mode goes, beside its loss, its trial and its seed."""
        given = self.params.model_dump(mode="json", include={*_SHARED, *_PHASES[mode], "apart"})
        return {**given, "data": self.data, "mode": mode}

    def tune(self, names: Iterable[str]) -> None:
        """Choose a trial of each loss by its scores on val, those beneath others first; done ones are passed over.

        Raises:
            InputError: Its trials have no score, or the one beneath is neither given nor chosen.
        """
        wanted = set(names)
        for arm in self.arms.values():
            if arm.name not in wanted:
                continue
            trials = arm.trials(beta=self.chosen(arm.beneath).weight if arm.beneath else 0.0)
            key = fingerprint(self.settings(self.mode), _named(arm), [trial.model_dump() for trial in trials],
                          self.params.tuning_seeds, self.params.chosen_by)  # fmt: skip
            if self.ledger.find(kind="choice", fingerprint=key):
                continue
            scores = [self._mean_score(arm, trial) for trial in trials]
            best = max(range(len(trials)), key=scores.__getitem__)
            self.ledger.append({
                "kind": "choice", "loss": arm.name, "trial": trials[best].model_dump(), "mode": self.mode,
                "chosen_by": self.params.chosen_by, "tuning_seeds": self.params.tuning_seeds,
                "trials": [{**trial.model_dump(), "score": value} for trial, value in zip(trials, scores, strict=True)],
                "inverse_net": arm.inverse_net, "setting": self._setting(self.mode), "fingerprint": key,
            })  # fmt: skip

    def chosen(self, name: str) -> Trial:
        """The trial that was chosen last for a loss with these settings.

        Raises:
            InputError: None was.
        """
        arm = self.arms[name]
        found = self.ledger.find(
            kind="choice", loss=name, setting=self._setting(self.choices), inverse_net=arm.inverse_net
        )  # fmt: skip
        if not found:
            raise InputError(
                f"{self.ledger.path}: no trial of {name} was chosen in mode {self.choices} with these settings; run "
                f"the same with --tune --mode {self.choices} first"
            )
        return Trial.model_validate(found[-1]["trial"])

    def compare(self, names: Iterable[str], *, split: str, least: int, most: int, width: float) -> None:
        """Run all losses with the seeds 1, 2, ..., seed by seed, so that pairs are whole whenever it is stopped.

        After `least` seeds a loss is left out whose interval of mBA above cross entropy, in points, is at most `width`
        from end to end; after `most` it ends.

        Raises:
            InputError: No trial of one was chosen.
        """
        wanted = [name for name in self.arms if name in {*names, CROSS_ENTROPY}]
        trials = {name: self.chosen(name) for name in wanted}
        found: dict[str, dict[int, float]] = {name: {} for name in wanted}
        going = set(wanted)
        for seed in range(1, most + 1):
            for name in wanted:
                if name in going:
                    row = self.run(self.arms[name], trials[name], kind="score", seed=seed, split=split)
                    if row["mba"] is not None:
                        found[name][seed] = 100 * row["mba"]
            if seed >= least:
                reference = found[CROSS_ENTROPY]
                going = {name for name in going if difference(found[name], reference).width > width}
                if going <= {CROSS_ENTROPY}:
                    return
                going.add(CROSS_ENTROPY)

    def run(self, arm: Arm, trial: Trial, *, kind: _Kind, seed: int, split: str) -> Row:
        """The row of a training: that of the ledger, or of one that is done now and written there."""
        key = fingerprint(self.settings(self.mode), _named(arm), trial.model_dump(), seed, split)
        if done := self.ledger.find(kind=kind, fingerprint=key):
            return done[-1]
        print(f"{time.strftime('%H:%M:%S')} {arm.name} {trial!r} seed {seed}, {split}", flush=True)
        network = self._start(seed)
        phase: Phase = getattr(self.params, _PHASES[self.mode][-1])
        criterion = arm.make(trial, self.trainer.num_classes)
        first = self.params.base.steps if self.mode == "finetune" else 0
        seconds = self.trainer.train(network, phase, criterion, seed=seed, first=first)
        scores = score(
            network, self.pictures(split), num_classes=self.trainer.num_classes, mean=self.trainer.mean,
            std=self.trainer.std, apart=self.params.apart, autocast=self.trainer.autocast(),
        )  # fmt: skip
        row = {
            "kind": kind, "loss": arm.name, "words": arm.words, "beneath": arm.beneath, "trial": trial.model_dump(),
            "seed": seed, "mode": self.mode, "split": split, **scores, "seconds_per_step": seconds,
            "inverse_net": arm.inverse_net, "setting": self._setting(self.mode), "fingerprint": key,
            "settings": self.settings(self.mode), "torch": torch.__version__, "machine": _machine(),
        }  # fmt: skip
        self.ledger.append(row)
        return row

    @cached_property
    def trainer(self) -> Trainer:
        """With the training images in memory."""
        return Trainer(self.params, self.pictures("train"), num_classes=len(self.store.info.classes))

    def _start(self, seed: int) -> Segmenter:
        if self.mode == "full":
            return self.trainer.fresh(seed)
        given = self.params.model_dump(mode="json", include={*_SHARED, "base"})
        folder = self.work / f"base-{fingerprint(given, self.data)[:12]}" / f"seed-{seed}"
        plain = self.arms[CROSS_ENTROPY]
        with _alone(self.work / "base.lock"):
            return self.trainer.base(seed, folder, plain.make(plain.trials()[0], self.trainer.num_classes))

    def _mean_score(self, arm: Arm, trial: Trial) -> float:
        name = self.params.chosen_by
        found = [self.run(arm, trial, kind="trial", seed=s, split="val")[name] for s in self.params.tuning_seeds]
        if None in found:
            raise InputError(f"{name} of {arm.name} is undefined on val: no boundary is there; choose by miou")
        return fmean(found)

    def _setting(self, mode: Mode) -> str:
        return fingerprint(self.settings(mode))[:12]


def contents(store: SampleStore) -> str:
    """SHA-256 of the images and labels of a store: the same however its files are laid out."""
    total = hashlib.sha256()
    for split in store.splits:
        for index in range(store.size(split)):
            row = store.row(split, index)
            labels = decoded(row, source=f"{split} sample {row.name}").labels
            total.update(f"{split} {row.name} {tuple(labels.shape)}\n".encode())
            total.update(row.image)
            total.update(labels.numpy().tobytes())
    return total.hexdigest()


def _named(arm: Arm) -> tuple[str, str | None]:
    """What a loss is, beside its trial."""
    return arm.name, arm.inverse_net


def _machine() -> str:
    chip = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()
    return f"{chip}, {torch.get_num_threads()} threads"


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Two processes that share a folder train no base twice, and not at once: the second waits for the first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
