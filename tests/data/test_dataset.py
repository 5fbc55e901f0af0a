import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from inverseform.data.dataset import decode_image, decode_map, encode_png, open_map
from inverseform.settings import InputError

RNG = np.random.default_rng(0)
PHOTO = RNG.integers(0, 256, (13, 17, 3), dtype=np.uint8)


def saved(picture: Image.Image, format: str, **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, format=format, **options)
    return file.getvalue()


def test_png_gives_back_the_same_pixels():
    assert (decode_image(encode_png(PHOTO), source="x") == PHOTO).all()
    assert (decode_map(encode_png(PHOTO[..., 0]), source="x") == PHOTO[..., 0]).all()


def test_the_same_array_gives_the_same_bytes():
    assert encode_png(PHOTO) == encode_png(PHOTO.copy())


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "1"])
def test_every_kind_of_picture_becomes_rgb(mode):
    picture = Image.fromarray(PHOTO).convert(mode)
    decoded = decode_image(saved(picture, "PNG"), source="x")
    assert (decoded == np.array(picture.convert("RGB"))).all()


def test_transparency_of_a_palette_is_dropped():
    picture = Image.fromarray(PHOTO).convert("P")
    decoded = decode_image(saved(picture, "PNG", transparency=bytes(range(256))), source="x")
    assert (decoded == np.array(picture.convert("RGB"))).all()


@pytest.mark.parametrize("format", ["PNG", "JPEG"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_a_picture_cut_short_is_refused_by_name(format, share):
    whole = saved(Image.fromarray(np.tile(PHOTO, (8, 8, 1))), format)
    with pytest.raises(InputError, match=r"street\.png: cannot be decoded as PNG or JPEG .*copy it again"):
        decode_image(whole[: int(len(whole) * share)], source="street.png")


def test_other_formats_are_refused():
    with pytest.raises(InputError, match="cannot be decoded"):
        decode_image(saved(Image.fromarray(PHOTO), "BMP"), source="x")


def test_pixels_of_sixteen_bits_are_refused():
    deep = Image.fromarray(PHOTO[..., 0].astype(np.uint16) * 257)
    with pytest.raises(InputError, match="I;16; images need 8 bits a channel"):
        decode_image(saved(deep, "PNG"), source="x")


def test_a_turned_photo_is_refused_and_an_upright_one_is_not():
    exif = Image.Exif()
    for turn in (6, 1):
        exif[0x0112] = turn
        data = saved(Image.fromarray(PHOTO), "JPEG", exif=exif)
        if turn == 1:
            assert decode_image(data, source="x").shape == PHOTO.shape
        else:
            with pytest.raises(InputError, match=r"EXIF orientation 6.*mogrify -auto-orient"):
                decode_image(data, source="x")


def test_what_is_no_picture_at_all_is_told_from_one_whose_header_is_damaged():
    for data in (b"", b"<html>404</html>", saved(Image.fromarray(PHOTO), "GIF")):
        with pytest.raises(
            InputError, match=r"x: cannot be decoded as PNG or JPEG \(begins like no PNG or JPEG\); copy"
        ):
            decode_image(data, source="x")
    with pytest.raises(InputError, match=r"x: cannot be decoded as PNG or JPEG \(its header is damaged\)"):
        decode_image(encode_png(PHOTO)[:9], source="x")


def test_rgb_of_sixteen_bits_is_refused_where_pil_would_drop_half_of_each():
    lines = b"".join(b"\0" + line.tobytes() for line in PHOTO.astype(">u2") * 257)
    header = struct.pack(">IIBBBBB", 17, 13, 16, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    png = b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    with pytest.raises(InputError, match=r"has pixels of 16 bits, read as RGB; images need 8 .*mogrify -depth 8"):
        decode_image(b"\x89PNG\r\n\x1a\n" + png, source="x")


def test_a_map_is_a_png_whatever_its_name_ends_with():
    assert (np.array(open_map(encode_png(PHOTO), source="x")) == PHOTO).all()
    with pytest.raises(InputError, match=r"labels\.png: is a JPEG file, whatever its name says, and must be PNG"):
        open_map(saved(Image.fromarray(PHOTO[..., 0]), "JPEG"), source="labels.png")
