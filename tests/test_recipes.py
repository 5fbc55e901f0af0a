import pytest

from inverseform.params import STAGES, load_section
from tests.drawn import ROOT
from tests.test_params import section_class


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda path: path.stem)
@pytest.mark.parametrize("stage", STAGES)
def test_every_section_of_a_recipe_is_right(path, stage):
    load_section(path, stage, section_class(stage))
