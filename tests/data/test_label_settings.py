import io

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from inverseform.data.label_settings import LabelSettings
from inverseform.settings import InputError

IDS = {"label_format": "ids", "classes": ("sky", "road"), "colours": ((0, 0, 9), (9, 0, 0)), "ignore_index": 0}


def png(values):
    file = io.BytesIO()
    Image.fromarray(np.array(values, np.uint8)).save(file, "PNG")
    return file.getvalue()


def test_ids_may_begin_anywhere():
    settings = LabelSettings(**IDS)
    assert settings.decode(png([[0, 1, 2]]), source="x", first_id=1).tolist() == [[255, 0, 1]]
    assert settings.decode(png([[0, 1, 1]]), source="x").tolist() == [[255, 1, 1]]
    for value in (1, 4):
        with pytest.raises(
            InputError, match=rf"x: the value {value} is at row 0, column 1 .*2 classes have ids 2 to 3"
        ):
            settings.decode(png([[2, value]]), source="x", first_id=2)


def test_colours_are_looked_up_and_a_file_is_read_as_its_bytes(tmp_path):
    settings = LabelSettings(**{**IDS, "label_format": "colours", "ignore_index": (1, 1, 1)})
    data = png([[[9, 0, 0], [1, 1, 1], [0, 0, 9]]])
    (tmp_path / "a.png").write_bytes(data)
    assert settings.decode(data, source="x").tolist() == settings.read(tmp_path / "a.png").tolist() == [[1, 255, 0]]


def test_settings_that_contradict_each_other_are_refused():
    with pytest.raises(ValidationError, match="colours has 2 entries for 3 classes"):
        LabelSettings(**{**IDS, "classes": ("a", "b", "c")})
