import pytest
from pydantic import Field, ValidationError

from inverseform.settings import InputError, Settings


class Lamp(Settings):
    brightness: float = Field(ge=0, le=1)
    colour: tuple[int, int, int]


LAMP = {"brightness": 0.5, "colour": (1, 2, 3)}


def test_settings_never_change():
    with pytest.raises(ValidationError, match="frozen"):
        Lamp(**LAMP).brightness = 1.0


@pytest.mark.parametrize(
    "wrong",
    [{"brightnes": 0.5}, {"brightness": "0.5"}, {"brightness": 2.0}, {"colour": (1, 2)}, {"colour": (1, 2, "3")}],
)
def test_what_was_not_meant_is_refused_and_never_converted(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Lamp(**{**LAMP, **wrong})


def test_nothing_has_a_value_that_was_not_written():
    with pytest.raises(ValidationError, match=r"colour\n\s+Field required"):
        Lamp(brightness=0.5)


def test_equal_settings_are_equal_and_may_be_keys():
    assert Lamp(**LAMP) == Lamp(**LAMP) and len({Lamp(**LAMP), Lamp(**LAMP)}) == 1


def test_settings_go_through_json_and_come_back():
    assert Lamp.model_validate_json(Lamp(**LAMP).model_dump_json()) == Lamp(**LAMP)


def test_an_input_error_is_a_value_error():
    """So that a validator of a settings class may raise it, and whoever knows nothing of us can catch it."""
    assert issubclass(InputError, ValueError)
