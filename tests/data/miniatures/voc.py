"""The tree of VOCdevkit: JPEG images, label maps of palette PNG with a void band around each object, and lists."""

import numpy as np
from PIL import Image

LISTS = {"train": ("2007_000032", "2007_000039"), "val": ("2007_000033",), "trainaug": ("2007_000032", "2008_000001")}


def palette():
    """The 256 colours of VOC, by the loop over bits of its devkit, slowly."""
    colours = []
    for number in range(256):
        colour, rest = [0, 0, 0], number
        for bit in range(7, -1, -1):
            for channel in range(3):
                colour[channel] |= (rest >> channel & 1) << bit
            rest >>= 3
        colours.append(tuple(colour))
    return colours


def draw(folder, *, labels="SegmentationClass", colours=None):
    """Label maps by name; those of `colours` are RGB, others are palette PNG, or grey in SegmentationClassAug."""
    truth = {}
    for number, name in enumerate(sorted({name for names in LISTS.values() for name in names})):
        random = np.random.default_rng(number)
        ids = np.zeros((30, 40), np.uint8)
        ids[5:20, 6 + number : 20] = 255
        ids[7:18, 8 + number : 18] = 1 + number
        ids[18:, 25:] = 20
        truth[name] = ids
        _save(Image.fromarray(random.integers(0, 256, (30, 40, 3), np.uint8)), folder / "JPEGImages" / f"{name}.jpg")
        if colours is not None:
            picture = Image.fromarray(np.array(colours, np.uint8)[ids])
        else:
            picture = Image.fromarray(ids)
            if labels == "SegmentationClass":
                picture.putpalette([value for colour in palette() for value in colour])
        _save(picture, folder / labels / f"{name}.png")
    for name, names in LISTS.items():
        path = folder / "ImageSets" / "Segmentation" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{each}\n" for each in names))
    return truth


def _save(picture, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
