import numpy as np
import pytest
import torch

from inverseform.data.stored_sample import SCHEMA
from inverseform.data.tasks import TASKS, decode, encode
from inverseform.settings import InputError

RANDOM = np.random.default_rng(0)


def target(task):
    """A target of a task, with some pixels of which nothing is known where the task has such."""
    kind = TASKS[task]
    shape = (kind.channels or 4, 5, 7)
    values = RANDOM.uniform(0.1, 9, shape).astype(kind.dtype)
    hidden = RANDOM.random(shape[1:]) < 0.3
    if kind.unknown is not None:
        values[:, hidden] = kind.unknown
    return values, hidden & (kind.unknown is not None)


@pytest.mark.parametrize("task", TASKS)
def test_a_target_comes_back_to_the_bit_and_zero_where_it_is_not_known(task):
    values, hidden = target(task)
    found = decode(task, encode(task, values), source="x")
    assert torch.equal(found.valid[0], torch.from_numpy(~hidden).float())
    assert torch.equal(found.values, torch.from_numpy(np.where(hidden, 0, values)).float())
    assert encode(task, values) == encode(task, np.asfortranarray(values))


@pytest.mark.parametrize("task", ["depth", "normals"])
def test_what_is_not_finite_is_not_known(task):
    values, _ = target(task)
    values[-1, 0, 0] = np.inf
    found = decode(task, encode(task, values), source="x")
    assert found.valid[0, 0, 0] == 0 and found.values.isfinite().all()


def test_a_target_of_another_type_or_shape_is_refused():
    with pytest.raises(ValueError, match="depth is float64 of 1 channels: give float32 of 1 channels"):
        encode("depth", np.zeros((1, 2, 2)))
    with pytest.raises(ValueError, match="normals is float16 of 2 channels: give float16 of 3 channels"):
        encode("normals", np.zeros((2, 2, 2), dtype=np.float16))


def test_damaged_bytes_and_objects_are_refused():
    whole = encode("depth", np.zeros((1, 8, 8), dtype=np.float32))
    for data in (b"", whole[:40], whole[:-7]):
        with pytest.raises(InputError, match=r"shard 3: its depth cannot be read .* run `dvc repro ingest` again"):
            decode("depth", data, source="shard 3")
    objects = whole.replace(b"'<f4'", b"'|O' ")
    assert objects != whole
    with pytest.raises(InputError, match="its depth cannot be read"):
        decode("depth", objects, source="shard 3")


def test_every_task_is_a_column():
    assert set(TASKS) <= set(SCHEMA.names)
