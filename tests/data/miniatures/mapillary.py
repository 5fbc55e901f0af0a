"""Mapillary Vistas v1.2 in miniature: its config, folders, palettes and 16-bit instances, with drawn scenes."""

import json

import numpy as np
from PIL import Image

from tests.data.miniatures.ingested import blocks

NAMES = ["Bird", "Ground Animal", "Curb", *(f"Label {number}" for number in range(3, 65)), "Unlabeled"]
COLOURS = [[number, 255 - number, 7 * number % 256] for number in range(66)]
COUNTS = {"training": 3, "validation": 2, "testing": 2}
LETTERS = {"training": "a", "validation": "b", "testing": "c"}


def draw(raw, *, later=False, labels=66):
    """Write the archive, or the later one that has v2.0 too; class ids by folder and key."""
    random = np.random.default_rng(1)
    config = {
        "labels": [
            {"color": colour, "evaluate": name != "Unlabeled", "instances": False, "name": f"some--{name.lower()}",
             "readable": name}
            for name, colour in list(zip(NAMES, COLOURS, strict=True))[:labels]
        ],
        "version": "1.1", "mapping": "public", "folder_structure": "{split}/{content}/{image_id}.{ext}",
    }  # fmt: skip
    raw.mkdir(parents=True)
    (raw / ("config_v1.2.json" if later else "config.json")).write_text(json.dumps(config))
    drawn = {folder: {} for folder in COUNTS}
    for folder, count in COUNTS.items():
        for number in range(count):
            key = f"{LETTERS[folder]}-{number}_Xy9"
            # Images differ in size.
            ids = blocks(random, tuple(range(66)), rows=8 + number, columns=10, side=4).astype(np.uint8)
            photo = random.integers(0, 256, (*ids.shape, 3), dtype=np.uint8)
            save(Image.fromarray(photo), raw / folder / "images" / f"{key}.jpg")
            if folder == "testing":
                drawn[folder][key] = np.full(ids.shape, 255)
                continue
            drawn[folder][key] = np.where(ids == 65, 255, ids)
            place = raw / folder / "v1.2" if later else raw / folder
            picture = Image.fromarray(ids)
            picture.putpalette([value for colour in COLOURS for value in colour])
            save(picture, place / "labels" / f"{key}.png")
            numbers = random.integers(0, 256, ids.shape, dtype=np.uint16)
            save(Image.fromarray(ids.astype(np.uint16) * 256 + numbers), place / "instances" / f"{key}.png")
    return drawn


def save(picture, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
