import pytest

from benchmarks.losses.params import ComparisonParams, parsed
from inverseform.settings import InputError


def test_a_change_leaves_the_other_settings_as_they_are():
    params, default = parsed('{"finetune": {"steps": 7}, "augment": {"crop": [64, 96]}}'), ComparisonParams()
    assert params.finetune == default.finetune.model_copy(update={"steps": 7})
    assert params.augment.crop == (64, 96) and params.augment.scale == default.augment.scale
    assert params.model_copy(update={"finetune": default.finetune, "augment": default.augment}) == default
    assert parsed("{}") == default


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ("{", "is not JSON"),
        ('{"stepz": 1}', "stepz: Extra inputs are not permitted; write for instance"),
        ('{"base": {"steps": 0}}', "base.steps: Input should be greater than or equal to 1"),
        ("[1]", "write for instance"),
        ('{"network": {"boundary_head": false}}', "network.boundary_head is false, .* write true"),
        ('{"tuning_seeds": [1001, 5]}', r"tuning_seeds are \[1001, 5\]: 1 to 999 are for the comparison"),
    ],
)
def test_what_is_wrong_is_told_with_what_to_type(changes, told):
    with pytest.raises(InputError, match=told):
        parsed(changes)
