import numpy as np
import pytest

from inverseform.data.id_table import class_ids
from inverseform.settings import InputError

TABLE = {0: 255, 1: 0, 2: 1, 7: 2, 255: 255}


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int64])
def test_ids_are_looked_up_in_any_type(dtype):
    values = np.array([[0, 1, 2], [7, 255, 1]], dtype=dtype)
    found = class_ids(values, TABLE, source="x")
    assert found.dtype == np.uint8 and (found == [[255, 0, 1], [2, 255, 0]]).all()


@pytest.mark.parametrize("strange", [3, 8, 256, 257, 65535, -1])
def test_a_value_of_no_class_is_told_with_its_place(strange):
    values = np.ones((3, 4), dtype=np.int32)
    values[1, 2:] = strange
    with pytest.raises(
        InputError,
        match=rf"a\.png: the value {strange} is at row 1, column 2 \(2 pixels have it\) and ids are 0 to 255, with "
        r"\[0, 255\] for unknown; copy the file again",
    ):
        class_ids(values, TABLE, source="a.png")
