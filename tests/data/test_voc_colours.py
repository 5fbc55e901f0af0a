from inverseform.data.voc_colours import voc_colours


def test_the_colours_are_those_voc_publishes():
    colours = voc_colours(256)
    assert colours[15] == (192, 128, 128)  # a person
    assert colours[20] == (0, 64, 128)  # a monitor
    assert colours[255] == (224, 224, 192)  # not known


def test_no_two_ids_share_a_colour():
    assert len(set(voc_colours(256))) == 256
