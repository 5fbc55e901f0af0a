"""Cityscapes in miniature: its folders, names, bit depths and ids, with drawn scenes of 96 x 48 pixels."""

import numpy as np
from PIL import Image

from tests.data.miniatures.ingested import blocks

# From the public table, by trainId; written out anew, so that a slip in the library's shows.
LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
ALL_IDS = (*range(34), 255)
CITIES = {
    "train": {"aachen": 2, "bad-honnef": 1},
    "val": {"lindau": 2},
    "test": {"berlin": 2},
    "train_extra": {"augsburg": 1, "troisdorf": 1},
}
BLACK = "troisdorf_000000_000073"
SPLITS = {"gtFine": ("train", "val", "test"), "gtCoarse": ("train", "val", "train_extra"), "auto": ("train_extra",)}
ENDINGS = {"gtFine": "_gtFine_labelIds.png", "gtCoarse": "_gtCoarse_labelIds.png", "auto": "_leftImg8bit.png"}


def draw(raw, *, nested=False):
    """Write all archives; class ids by annotation and name, with 255 where they are unknown."""
    random = np.random.default_rng(0)
    drawn = {annotation: {} for annotation in SPLITS}
    for split, cities in CITIES.items():
        for city, count in cities.items():
            names = [f"{city}_{seq:06d}_000019" for seq in range(count)] + [BLACK] * (city == "troisdorf")
            for name in names:
                photo = random.integers(0, 256, (48, 96, 3), dtype=np.uint8) * (name != BLACK)
                save(photo, images(raw, split, nested) / city / f"{name}_leftImg8bit.png")
                for annotation, splits in SPLITS.items():
                    if split in splits:
                        ids = blocks(random, ALL_IDS, rows=6, columns=12, side=8)[:48].astype(np.uint8)
                        save(ids, labels(raw, annotation, split, nested) / city / f"{name}{ENDINGS[annotation]}")
                        drawn[annotation][name] = class_ids(ids)
                    # What lies beside them in the archives.
                    if split in splits and annotation == "gtFine":
                        save(ids * 0, labels(raw, annotation, split, nested) / city / f"{name}_gtFine_instanceIds.png")
    return drawn


def images(raw, split, nested):
    if not nested:
        return raw / "leftImg8bit" / split
    return raw / f"leftImg8bit_train{'extra' if split == 'train_extra' else 'valtest'}" / "leftImg8bit" / split


def labels(raw, annotation, split, nested):
    folder = {"gtFine": "gtFine", "gtCoarse": "gtCoarse", "auto": "autolabelled"}[annotation]
    nest = {"gtFine": "gtFine_trainvaltest/gtFine", "gtCoarse": "gtCoarse/gtCoarse", "auto": "refinement_final"}
    return raw / (nest[annotation] if nested else folder) / split


def class_ids(label_ids):
    expected = np.full(label_ids.shape, 255, np.uint8)
    for klass, label_id in enumerate(LABEL_IDS):
        expected[label_ids == label_id] = klass
    return expected


def save(array, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
