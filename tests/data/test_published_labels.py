import zlib

import numpy as np
import pytest
from PIL import Image

from inverseform.data.published_labels import LabelledImage, class_ids, class_ids_of_colours, single_channel
from inverseform.settings import InputError

IDS = np.array([[7, 8, 9], [7, 255, 8]], dtype=np.uint8)
TABLE = {7: 0, 8: 1, 9: 255, 255: 255}
TRUE = np.array([[0, 1, 255], [0, 255, 1]])
COLOURS = {(10, 0, 0): 1, (0, 10, 0): 0, (0, 0, 10): 255}


def written(path, picture, **options):
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(path, **options)
    return path


def ids(path, **options):
    return class_ids(path, TABLE, rule="ids are 7 to 9, and 255", **options)


def test_ids_are_looked_up_in_grey_and_in_palettes(tmp_path):
    assert (ids(written(tmp_path / "grey.png", IDS)) == TRUE).all()
    palette = Image.fromarray(IDS)
    palette.putpalette(list(range(256)) * 3)
    assert (ids(written(tmp_path / "palette.png", palette)) == TRUE).all()


def test_ids_of_sixteen_bits_lie_above_the_number_of_the_instance(tmp_path):
    deep = IDS.astype(np.uint16) * 256 + np.arange(6, dtype=np.uint16).reshape(2, 3) * 40
    assert (ids(written(tmp_path / "deep.png", deep), values_per_id=256) == TRUE).all()


def test_a_strange_id_is_told_with_its_place_and_the_rule(tmp_path):
    strange = IDS.copy()
    strange[1, :2] = 10
    told = r"a\.png: the id 10 is at row 1, column 0 \(2 pixels have it\), and ids are 7 to 9, and 255; copy"
    with pytest.raises(InputError, match=told):
        ids(written(tmp_path / "a.png", strange))
    # 263 is 7 in 8 bits.
    with pytest.raises(InputError, match="the id 263"):
        ids(written(tmp_path / "a.png", np.where(IDS == 7, 263, 8).astype(np.uint16)))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "1"])
def test_other_pictures_are_no_ids(tmp_path, mode):
    with pytest.raises(InputError, match=r"a\.png: has \d channel\(s\) of \d bits"):
        single_channel(written(tmp_path / "a.png", Image.fromarray(IDS).convert(mode)))


def test_grey_of_4_bits_would_be_read_as_other_ids_and_is_refused(tmp_path):
    grey = written(tmp_path / "a.png", Image.fromarray(IDS % 4).convert("P"), bits=4).read_bytes()
    # The same file with the number of a grey picture in its header, whose checksum is made anew.
    header = b"IHDR" + grey[16:25] + b"\0" + grey[26:29]
    (tmp_path / "a.png").write_bytes(grey[:12] + header + zlib.crc32(header).to_bytes(4, "big") + grey[33:])
    with pytest.raises(InputError, match=r"has 1 channel\(s\) of 4 bits"):
        single_channel(tmp_path / "a.png")


def test_colours_are_looked_up_and_a_strange_one_is_told(tmp_path):
    colours = np.array(list(COLOURS), np.uint8)[np.array([[0, 1, 2], [1, 1, 0]])]
    path = written(tmp_path / "a.png", colours)
    assert (class_ids_of_colours(path, COLOURS, rule="x") == [[1, 0, 255], [0, 0, 1]]).all()
    colours[0, 2] = (255, 255, 255)
    told = r"the colour \(255, 255, 255\) is at row 0, column 2 \(1 pixels have it\), and is another; copy"
    with pytest.raises(InputError, match=told):
        class_ids_of_colours(written(tmp_path / "a.png", colours), COLOURS, rule="is another")


def test_an_image_is_read_with_its_labels_and_without_any_all_is_unknown(tmp_path):
    image = written(tmp_path / "image.png", np.full((2, 3, 3), 9, np.uint8))
    labels = written(tmp_path / "labels.png", IDS)
    reading = LabelledImage("a", image, labels, ids).read()
    assert reading.encoded == image.read_bytes() and (reading.image == 9).all() and (reading.labels == TRUE).all()
    assert (LabelledImage("a", image, None, ids).read().labels == 255).all()


def test_labels_of_another_size_are_refused(tmp_path):
    image = written(tmp_path / "image.png", np.zeros((3, 3, 3), np.uint8))
    with pytest.raises(InputError, match=r"labels\.png: is 3x2 and image\.png is 3x3 \(width x height\)"):
        LabelledImage("a", image, written(tmp_path / "labels.png", IDS), ids).read()


@pytest.mark.parametrize("kind", ["image", "labels"])
def test_a_damaged_file_is_told_by_name(tmp_path, kind):
    paths = {
        "image": written(tmp_path / "image.png", np.zeros((2, 3, 3), np.uint8)),
        "labels": written(tmp_path / "labels.png", IDS),
    }
    paths[kind].write_bytes(paths[kind].read_bytes()[:40])
    with pytest.raises(InputError, match=rf"{kind}\.png: cannot be decoded"):
        LabelledImage("a", paths["image"], paths["labels"], ids).read()


def test_jpeg_is_no_label_map_though_its_name_ends_with_png(tmp_path):
    grey = written(tmp_path / "a.png", np.full((8, 8), 7, np.uint8), format="JPEG")
    with pytest.raises(InputError, match=r"a\.png: is a JPEG file"):
        single_channel(grey)
    black = written(tmp_path / "b.png", np.zeros((8, 8, 3), np.uint8), format="JPEG")
    with pytest.raises(InputError, match=r"b\.png: is a JPEG file"):
        class_ids_of_colours(black, {(0, 0, 0): 1}, rule="x")
