import numpy as np
import pytest

from inverseform.data.dataset import Reading, encode_png
from inverseform.data.inspection import Coverage, inspected
from inverseform.settings import InputError

LABELS = np.array([[0, 0, 2], [255, 2, 2]], np.uint8)


class Given:
    """A source of what it is given."""

    name = "one"

    def __init__(self, labels=LABELS, error=None, **more):
        self.labels, self.error, self.more = labels, error, more

    def read(self):
        if self.error:
            raise self.error
        image = np.zeros((*self.labels.shape, 3), np.uint8)
        return Reading(encode_png(image), image, self.labels, **self.more)


def test_labels_are_counted_with_void():
    found = inspected(Given(), 3)
    assert found.problem is None and found.size == (2, 3) and not found.predicted
    assert {label: int(n) for label, n in enumerate(found.pixels) if n} == {0: 2, 2: 3, 255: 1}
    assert inspected(Given(prediction=LABELS), 3).predicted


def test_what_is_known_of_a_task_goes_by_its_own_value_for_unknown():
    depth = np.array([[[1.5, np.nan, 4.0], [2.0, 3.0, np.nan]]], np.float32)
    edges = np.array([[[0, 1, 255]], [[1, 1, 0]]], np.uint8).repeat(2, axis=1)
    targets = {"depth": depth, "edges": edges, "hha": np.full((3, 2, 3), 255, np.uint8)}
    found = inspected(Given(targets=targets), 3).tasks
    assert found["depth"] == Coverage(1, pytest.approx(4 / 6), 1.5, 4.0)
    assert found["edges"] == Coverage(1, pytest.approx(2 / 3), 0.0, 1.0)
    assert found["hha"] == Coverage(1, 1.0, 255.0, 255.0)
    nothing = Coverage(1, 0.0, np.inf, -np.inf)
    assert inspected(Given(targets={"depth": depth * np.nan}), 3).tasks["depth"] == nothing
    assert nothing.merged(found["depth"]) == Coverage(2, pytest.approx(4 / 6), 1.5, 4.0)


def test_equal_images_have_equal_digests_and_others_do_not():
    one, other = inspected(Given(), 3), inspected(Given(np.zeros((4, 4), np.uint8)), 3)
    assert one.digest == inspected(Given(LABELS * 0), 3).digest != other.digest


@pytest.mark.parametrize("error", [InputError("a.png: cannot be decoded"), OSError(5, "Input/output error", "a.png")])
def test_what_cannot_be_read_is_a_problem_and_no_more(error):
    found = inspected(Given(error=error), 3)
    assert found.problem == str(error) and "a.png" in found.problem and found.pixels.sum() == 0


def test_a_bug_of_a_reader_is_no_problem_of_the_data():
    with pytest.raises(ZeroDivisionError):
        inspected(Given(error=ZeroDivisionError()), 3)
    assert inspected(Given(), 2).problem == "one: has the label 2, of no class: a bug of its reader"
