import json

import pytest

from components import stage
from components.pair_shards import agree, make_shards, write_shard
from components.synthesize import fit, synthesize
from inverseform.data.sample_store import SampleStore
from inverseform.settings import InputError
from tests.components.synthesis import params
from tests.drawn import sample_store


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn") / "samples"
    sample_store(folder)
    return folder


def test_a_plan_is_made_once_and_found_again_whatever_the_number_of_workers(samples, tmp_path):
    plan = agree(params(), samples, tmp_path)
    assert agree(params(workers=7), samples, tmp_path) == plan
    assert plan.sizes == {split: params().shard_size(split) for split in ("train", "val", "probe")}
    pairs = {
        split: sum(j.last - j.first for j in plan.jobs(params().counts) if j.split == split) for split in plan.sizes
    }
    assert pairs == params().counts


@pytest.mark.parametrize("changes", [{"seed": 2}, {"train_pairs": 131}, {"identity": 0.3}, {"tile": 20}])
def test_other_settings_are_another_plan(samples, tmp_path, changes):
    agree(params(), samples, tmp_path)
    with pytest.raises(InputError, match=rf"synthesize\.{next(iter(changes))}: .* in the checkpoint"):
        agree(params(**changes), samples, tmp_path)


def test_other_samples_or_another_localiser_are_another_plan(samples, tmp_path):
    drawn = params(source="spatial_transformer")
    for name in ("one", "other"):
        stage.run(
            fit, drawn.model_copy(update={"seed": len(name)}), {"samples": samples, "checkpoints": tmp_path / name}
        )
    agree(drawn, samples, tmp_path, localiser=tmp_path / "one" / "localiser")
    with pytest.raises(InputError, match="input localiser: "):
        agree(drawn, samples, tmp_path, localiser=tmp_path / "other" / "localiser")
    with pytest.raises(InputError, match="input localiser: "):
        agree(drawn, samples, tmp_path)
    description = tmp_path / "samples" / "dataset.json"
    description.parent.mkdir()
    content = json.loads((samples / "dataset.json").read_text())
    content["shards"]["train"][0]["sha256"] = "0" * 64
    description.write_text(json.dumps(content))
    with pytest.raises(InputError, match="input samples: "):
        agree(drawn, description.parent, tmp_path, localiser=tmp_path / "one" / "localiser")


def test_a_part_is_every_nth_shard_and_what_is_there_is_not_made_again(samples, tmp_path):
    store, plan = SampleStore.open(samples), agree(params(), samples, tmp_path)
    jobs = plan.jobs(params().counts)
    first, made = make_shards(params(), store, plan, tmp_path, part=slice(1, None, 2))
    assert list(first) == jobs[1::2] and made == sum(job.last - job.first for job in jobs[1::2])
    written = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.parquet")}
    everything, made = make_shards(params(), store, plan, tmp_path)
    assert list(everything) == jobs and made == sum(job.last - job.first for job in jobs[::2])
    assert {path: path.stat().st_mtime_ns for path in written} == written
    assert make_shards(params(), store, plan, tmp_path) == (everything, 0)


def test_a_shard_is_that_of_the_stage(samples, tmp_path):
    paths = {"samples": samples, "pairs": tmp_path / "pairs", "checkpoints": tmp_path / "c"}
    stage.run(synthesize, params(), paths)
    (tmp_path / "alone").mkdir()
    assert write_shard(params(), SampleStore.open(samples), tmp_path / "alone", "val", 0) == 40
    made = tmp_path / "alone" / "val-00000.parquet"
    assert made.read_bytes() == (tmp_path / "pairs" / made.name).read_bytes()
