from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from inverseform.data import (
    Bsds500Params,
    CamvidParams,
    CityscapesParams,
    DataParams,
    FolderParams,
    MapillaryParams,
    MniParams,
    ProceduralParams,
    open_dataset,
)
from inverseform.data.layout import LayoutError
from inverseform.settings import InputError


def test_the_name_tells_which_settings_there_are():
    adapter = TypeAdapter(DataParams)
    assert adapter.validate_json('{"name": "mni"}') == MniParams(name="mni")
    own = '{"name": "folder", "classes": ["a", "b"], "colours": [[0, 0, 0], [1, 1, 1]], "ignore_index": null, '
    assert isinstance(adapter.validate_json(own + '"label_format": "ids"}'), FolderParams)
    drawn = '{"name": "procedural", "train": 3, "val": 2, "test": 1, "size": [64, 96], "seed": 0}'
    assert isinstance(adapter.validate_json(drawn), ProceduralParams)
    with pytest.raises(ValidationError, match="mni"):
        adapter.validate_json('{"name": "cityscape"}')


PUBLISHED = {
    Bsds500Params: '{"name": "bsds500", "layout": "shares", "annotator": "median"}',
    CamvidParams: '{"name": "camvid", "layout": "folders", "classes": 11}',
    CityscapesParams: '{"name": "cityscapes", "train": ["fine/train"], "val": ["fine/val"], "test": ["test"]}',
    MapillaryParams: '{"name": "mapillary", "labels": "labels", "test": true}',
}


@pytest.mark.parametrize(("settings", "text"), PUBLISHED.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_published_data_sets_are_looked_for_in_the_raw_folder(settings, text, tmp_path):
    params = TypeAdapter(DataParams).validate_json(text)
    assert isinstance(params, settings)
    with pytest.raises(LayoutError, match=f"{tmp_path}.*(no such folder|is missing)"):
        open_dataset(params, tmp_path)


def test_the_embedded_default_does_not_look_at_the_raw_folder():
    assert open_dataset(MniParams(name="mni"), Path("/nowhere")).name == "mni"


def test_a_folder_of_ones_own_is_looked_for_in_the_raw_folder(tmp_path):
    own = FolderParams(
        name="folder", classes=("a", "b"), colours=((0, 0, 0), (1, 1, 1)), ignore_index=None, label_format="ids"
    )
    with pytest.raises(InputError, match=f"{tmp_path}/train/images: does not exist"):
        open_dataset(own, tmp_path)
