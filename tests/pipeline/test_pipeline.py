from pipeline import InputError, nearest


def test_the_nearest_name_is_the_one_most_alike():
    names = ["train_inverse", "train_segmentation", "export"]
    assert nearest("train_invers", names) == nearest("inverse", names) == "train_inverse"
    assert nearest("exprot", names) == "export"


def test_what_a_user_got_wrong_is_a_value_error():
    assert issubclass(InputError, ValueError)
