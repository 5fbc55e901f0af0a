"""BSDS500 in miniature: the official archive with real .mat files, and the shares made from it, of drawn regions."""

import numpy as np
from PIL import Image
from scipy.io import savemat

NAMES = {"train": ("100075", "100080"), "val": ("101085",), "test": ("100007", "2018")}
ANNOTATORS = {"100075": 5, "100080": 4, "101085": 6, "100007": 9, "2018": 7}
# Photos lie or stand.
SIZES = {"100080": (48, 32)}


def regions(name, annotator):
    """Rectangles beside each other, finer with each annotator, ids from 1."""
    height, width = SIZES.get(name, (32, 48))
    random = np.random.default_rng([int(name), annotator])
    down, right = (np.sort(random.choice(np.arange(2, side - 2), annotator + 1)) for side in (height, width))
    rows = np.searchsorted(down, np.arange(height), side="right")
    columns = np.searchsorted(right, np.arange(width), side="right")
    return (rows[:, None] * (annotator + 2) + columns + 1).astype(np.uint16)


def edges(regions):
    """On one side of a border, one pixel wide, as in the archive."""
    found = np.zeros(regions.shape, np.uint8)
    found[:, :-1] |= regions[:, :-1] != regions[:, 1:]
    found[:-1] |= regions[:-1] != regions[1:]
    return found


def draw_mat(raw, *, place="BSR/BSDS500/data"):
    """Write the official archive; per split and name the regions of every annotator."""
    drawn = {}
    for split, names in NAMES.items():
        images, truth = raw / place / "images" / split, raw / place / "groundTruth" / split
        images.mkdir(parents=True)
        truth.mkdir(parents=True)
        (images / "Thumbs.db").write_bytes(b"not an image")
        drawn[split] = {}
        for name in sorted(names):
            # Not in the order of their fineness.
            everyone = [regions(name, annotator) for annotator in reversed(range(ANNOTATORS[name]))]
            cells = np.empty((1, len(everyone)), dtype=object)
            for number, each in enumerate(everyone):
                cells[0, number] = {"Segmentation": each, "Boundaries": edges(each)}
            savemat(truth / f"{name}.mat", {"groundTruth": cells}, do_compression=True)
            photo = np.random.default_rng(int(name)).integers(0, 256, (*everyone[0].shape, 3), dtype=np.uint8)
            Image.fromarray(photo).save(images / f"{name}.jpg")
            drawn[split][name] = everyone
    return drawn


def draw_shares(raw):
    """Write the layout of shares; the same regions."""
    drawn = {}
    for split, names in NAMES.items():
        for kind in ("images", "boundaries", "segments"):
            (raw / split / kind).mkdir(parents=True)
        drawn[split] = {}
        for name in sorted(names):
            everyone = [regions(name, annotator) for annotator in range(ANNOTATORS[name])]
            share = np.mean([edges(each) for each in everyone], axis=0)
            Image.fromarray(np.round(255 * share).astype(np.uint8)).save(raw / split / "boundaries" / f"{name}.png")
            Image.fromarray(everyone[len(everyone) // 2]).save(raw / split / "segments" / f"{name}.png")
            photo = np.zeros((*everyone[0].shape, 3), np.uint8)
            Image.fromarray(photo).save(raw / split / "images" / f"{name}.jpg")
            drawn[split][name] = everyone
    return drawn
