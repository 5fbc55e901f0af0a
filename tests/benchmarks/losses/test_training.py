import pytest
import torch

from benchmarks.losses.arms import Trial, arms
from benchmarks.losses.params import Phase, parsed
from benchmarks.losses.pictures import Pictures
from benchmarks.losses.training import Trainer, learning_rate
from inverseform.settings import InputError
from inverseform.training import optimiser
from tests.benchmarks.losses.small import SETTINGS
from tests.drawn import CLASSES, sample_store

KNOWN = arms()
PLAIN = KNOWN["cross_entropy"].make(Trial(weight=0.0, start=0.0, beta=0.0), CLASSES)


@pytest.fixture(scope="module")
def trainer(tmp_path_factory):
    store = sample_store(tmp_path_factory.mktemp("store") / "samples", train=4, val=1, height=64, width=80)
    return Trainer(parsed(SETTINGS), Pictures(store, "train"), num_classes=CLASSES)


def weights_of(network):
    return torch.cat([value.flatten().float() for value in network.state_dict().values()])


@pytest.mark.parametrize("schedule", ["cosine", "poly"])
def test_the_schedule_is_the_stages_own(schedule):
    phase = Phase(steps=20, learning_rate=0.3, warm_up=4, schedule=schedule)
    rates = [learning_rate(phase, step) for step in range(20)]
    # Of its settings it reads those that a phase has.
    params = optimiser.OptimiserParams.model_construct(**phase.model_dump())
    expected = [optimiser.learning_rate(params, step) for step in range(20)]
    assert rates == expected and max(rates) == 0.3 and min(rates) > 0


def test_a_base_is_the_same_whether_it_is_trained_or_read(trainer, tmp_path):
    folder = tmp_path / "base" / "seed-1"
    trained = trainer.base(1, folder, PLAIN)
    written = folder.stat().st_mtime_ns
    read = trainer.base(1, folder, PLAIN)
    assert folder.stat().st_mtime_ns == written
    assert torch.equal(weights_of(trained), weights_of(read))
    assert not torch.equal(weights_of(trained), weights_of(trainer.base(2, tmp_path / "other", PLAIN)))


def test_a_loss_whose_weight_is_0_trains_to_the_bit_as_cross_entropy_does_and_one_that_starts_does_not(trainer):
    phase, ends = trainer.params.finetune, []
    for name, trial in (
        ("cross_entropy", Trial(weight=0.0, start=0.0, beta=0.0)),
        ("boundary_dou", Trial(weight=0.0, start=0.0, beta=0.0)),
        ("boundary_dou", Trial(weight=1.0, start=0.9, beta=0.0)),
        ("boundary_dou", Trial(weight=1.0, start=0.5, beta=0.0)),
    ):
        network = trainer.fresh(3)
        seconds = trainer.train(network, phase, KNOWN[name].make(trial, CLASSES), seed=3)
        assert 0 < seconds < 60
        ends.append(weights_of(network))
    # Of two steps, the second is at a half of the training.
    assert [torch.equal(ends[0], end) for end in ends] == [True, True, True, False]


def test_a_second_phase_sees_the_batches_after_those_of_the_first(trainer, monkeypatch):
    seen, batch = [], trainer.pictures.batch

    def drawn(step, *given, **options):
        seen.append(step)
        return batch(step, *given, **options)

    monkeypatch.setattr(trainer.pictures, "batch", drawn)
    trainer.train(trainer.fresh(1), trainer.params.finetune, PLAIN, seed=1, first=3)
    assert seen == [3, 4]


def test_a_loss_that_is_not_finite_is_refused_before_it_changes_the_network(trainer):
    network = trainer.fresh(1)
    before = weights_of(network)[:1000].clone()
    with pytest.raises(InputError, match="the loss is inf at step 1 of seed 1; lower its weight"):
        trainer.train(
            network, trainer.params.finetune, lambda logits, labels, boundary, progress: logits.sum() * 0 + torch.inf,
            seed=1,
        )  # fmt: skip
    assert torch.equal(weights_of(network)[:1000], before)
