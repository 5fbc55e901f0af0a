import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from inverseform.data.label_maps import colour_ids, plain_ids
from inverseform.settings import InputError

IDS = np.array([[0, 1, 2, 11], [1, 1, 2, 2], [0, 0, 0, 11]], dtype=np.uint8)
TRUE = np.where(IDS == 11, 255, IDS)
COLOURS = ((0, 0, 255), (128, 64, 128), (200, 0, 0))
UNKNOWN = (0, 0, 0)


@pytest.fixture
def label(tmp_path):
    """Writes a picture, and gives its path."""

    def write(picture, name="a.png", **options):
        Image.fromarray(picture).save(tmp_path / name, **options)
        return tmp_path / name

    return write


def ids(path, ignore=11, classes=3):
    found = plain_ids(path, num_classes=classes, ignore_index=ignore)
    assert found.dtype == np.uint8
    return found


def test_ids_come_as_they_are_with_255_for_unknown(label):
    assert (ids(label(IDS)) == TRUE).all()


def test_palette_labels_are_read_by_index(tmp_path):
    picture = Image.fromarray(IDS).convert("P")
    picture.putdata(IDS.ravel().tolist())
    picture.putpalette([7, 7, 7] * 256)
    picture.save(tmp_path / "a.png")
    assert (ids(tmp_path / "a.png") == TRUE).all()


def test_labels_of_sixteen_bits_are_read(label):
    assert (ids(label(IDS.astype(np.uint16))) == TRUE).all()


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_labels_of_few_bits_are_read_by_value(tmp_path, depth):
    few = np.minimum(IDS, 2 if depth > 1 else 1)
    bits = (few[..., None] >> np.arange(depth)[::-1]) & 1
    lines = np.packbits(bits.reshape(len(few), -1).astype(bool), axis=1)
    header = struct.pack(">IIBBBBB", few.shape[1], few.shape[0], depth, 0, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + line.tobytes() for line in lines))
    chunks = [(b"IHDR", header), (b"IDAT", body), (b"IEND", b"")]
    png = b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + png)
    assert (ids(tmp_path / "a.png") == few).all()


def test_an_ignored_id_that_names_a_class_hides_it(label):
    few = np.minimum(IDS, 2)
    assert (ids(label(few), ignore=0) == np.where(few == 0, 255, few)).all()


@pytest.mark.parametrize("ignore", [None, 12])
def test_a_value_outside_the_classes_is_named_and_counted(label, ignore):
    told = r"a\.png: the value 11 is at row 0, column 3 \(2 pixels have it\).*3 classes have ids 0 to 2"
    with pytest.raises(InputError, match=told):
        ids(label(IDS), ignore=ignore)
    with pytest.raises(InputError, match="the value 11 is"):
        ids(label(IDS), ignore=ignore, classes=11)
    assert (ids(label(IDS), ignore=ignore, classes=12) == IDS).all()


def test_a_large_value_does_not_wrap_into_a_class(label):
    with pytest.raises(InputError, match="the value 256 is at row 0, column 0"):
        ids(label(IDS.astype(np.uint16) + 256))


def test_colours_are_refused_where_ids_are_asked_for(label):
    with pytest.raises(InputError, match=r"has 3 channels.*set label_format: colours"):
        ids(label(np.zeros((*IDS.shape, 3), dtype=np.uint8)))


def coloured():
    table = np.zeros((12, 3), dtype=np.uint8)
    table[:3] = COLOURS
    return table[IDS]


@pytest.mark.parametrize("kind", ["RGB", "RGBA", "P"])
def test_colours_are_looked_up(tmp_path, kind):
    Image.fromarray(coloured()).convert(kind, palette=Image.Palette.ADAPTIVE).save(tmp_path / "a.png")
    assert (colour_ids(tmp_path / "a.png", colours=COLOURS, ignore=UNKNOWN) == TRUE).all()


def test_the_order_of_the_colours_is_that_of_the_classes(label):
    found = colour_ids(label(coloured()), colours=COLOURS[::-1], ignore=UNKNOWN)
    assert (found == np.where(TRUE == 255, 255, 2 - np.minimum(TRUE, 2))).all()


def test_a_colour_of_no_class_is_named_and_counted(label):
    strange = coloured()
    strange[1, 2:] = (1, 2, 3)
    with pytest.raises(InputError, match=r"a\.png: the colour \(1, 2, 3\) is at row 1, column 2 \(2 pixels.*colours"):
        colour_ids(label(strange), colours=COLOURS, ignore=UNKNOWN)


def test_without_an_ignored_colour_black_is_of_no_class_either(label):
    with pytest.raises(InputError, match=r"the colour \(0, 0, 0\) is at row 0, column 3 \(2 pixels"):
        colour_ids(label(coloured()), colours=COLOURS, ignore=None)


@pytest.mark.parametrize("read", [lambda path: ids(path), lambda path: colour_ids(path, colours=COLOURS, ignore=None)])
def test_a_file_cut_short_is_refused_by_name(label, read):
    path = label(IDS)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match=r"a\.png: cannot be decoded"):
        read(path)


@pytest.mark.parametrize("read", [ids, lambda path: colour_ids(path, colours=((0, 0, 0),), ignore=None)])
def test_jpeg_is_no_label_map_though_its_name_ends_with_png(label, read):
    # Black comes back as it was: only its format tells.
    path = label(np.zeros((8, 8, 3) if read is not ids else (8, 8), dtype=np.uint8), format="JPEG")
    with pytest.raises(InputError, match=r"a\.png: is a JPEG file, whatever its name says, and must be PNG"):
        read(path)
