"""PASCAL_MT in small: drawn scenes of a person, a dog and a wall, in the layout of ASTMT's archive."""

import json
from typing import NamedTuple

import numpy as np
import scipy.io
from PIL import Image

from inverseform.data.voc_colours import voc_colours

TRAIN, VAL = ("2008_000008", "2008_000015", "2008_000019"), ("2009_000001", "2009_000011")
PERSON, DOG = 15, 12
"""Of VOC's 21."""
IDS = {"person": 284, "dog": 113, "wall": 440, "sky": 360}
"""Of PASCAL-Context's 459; sky is no class of NYUv2's, so it has no normals."""
OBJECT = [("class", object), ("class_ind", object), ("mask", object), ("parts", object)]


class Scene(NamedTuple):
    labels: np.ndarray
    """Of VOC's classes, 255 unknown."""
    context: np.ndarray
    parts: np.ndarray
    """1 to 6; all 0 where nobody is in the image."""
    salient: np.ndarray
    normals: np.ndarray
    """(height, width, 3): left, up, towards the camera."""


def scene(number):
    """Sky over a wall, a dog in front, and in even ones a person beside it; no two of one size."""
    height, width = 48 + number, 64 - number
    labels, parts = (np.zeros((height, width), dtype=np.uint8) for _ in range(2))
    context = np.full((height, width), IDS["wall"], dtype=np.uint16)
    context[:10] = IDS["sky"]
    labels[25:40, 5:20], context[25:40, 5:20] = DOG, IDS["dog"]
    if number % 2 == 0:
        labels[12:44, 30:42], context[12:44, 30:42] = PERSON, IDS["person"]
        for part, rows in enumerate(
            (slice(12, 18), slice(18, 26), slice(26, 28), slice(28, 30), slice(30, 38)), start=1
        ):
            parts[rows, 30:42] = part
        parts[38:44, 30:42] = 6
    salient = labels > 0
    labels[24, 5:20] = 255
    tilted = np.array([0.6, 0.0, 0.8])
    normals = np.where((np.arange(width) < width // 2)[None, :, None], tilted, [0.0, 0.6, 0.8])
    return Scene(labels, context, parts, salient, np.broadcast_to(normals, (height, width, 3)))


def annotation(drawn):
    """PASCAL-Part's structure: the dog without parts of a person, the person with finer parts than the six."""
    dog = ("dog", 12.0, (drawn.labels == DOG).astype(np.uint8), _parts([("head", drawn.labels == DOG)]))
    objects = [dog]
    if drawn.parts.any():
        head = drawn.parts == 1
        # The nose lies in the head, and is painted after it.
        nose = head & (np.arange(head.shape[1]) == 35)
        names = ("torso", "luarm", "rlarm", "ruleg", "lfoot")
        fine = [("head", head), ("nose", nose), *((name, drawn.parts == n) for n, name in enumerate(names, start=2))]
        objects.append(("person", 15.0, (drawn.parts > 0).astype(np.uint8), _parts(fine)))
        # Somebody too small to have parts: an empty matrix.
        objects.append(("person", 15.0, np.zeros(head.shape, np.uint8), np.zeros((0, 0))))
    rows = np.empty((1, len(objects)), dtype=OBJECT)
    rows[0] = objects
    return {"anno": {"imname": "image", "objects": rows}}


def _parts(named):
    rows = np.empty((1, len(named)), dtype=[("part_name", object), ("mask", object)])
    rows[0] = [(name, mask.astype(np.uint8)) for name, mask in named]
    return rows


def pascal_mt(raw):
    """Write the archive; scenes by name."""
    folders = "JPEGImages semseg/VOC12 semseg/pascal-context pascal-context/trainval human_parts normals_distill"
    for folder in (*folders.split(), "sal_distill", "ImageSets/Context", "ImageSets/Parts"):
        (raw / folder).mkdir(parents=True)
    scenes = {name: scene(number) for number, name in enumerate(TRAIN + VAL)}
    palette = [channel for colour in voc_colours(256) for channel in colour]
    for number, (name, drawn) in enumerate(scenes.items()):
        photo = (drawn.labels[..., None] % 21 * 11 + np.array([9, 4, 1])).astype(np.uint8)
        Image.fromarray(photo).save(raw / "JPEGImages" / f"{name}.jpg", quality=95)
        labels = Image.fromarray(drawn.labels)
        labels.putpalette(palette)
        # Only some images are of VOC 2012's own segmentation; where both exist, its file counts.
        voc = number in (0, 3)
        labels.save(raw / "semseg" / ("VOC12" if voc else "pascal-context") / f"{name}.png")
        if voc:
            Image.fromarray(np.zeros_like(drawn.labels)).save(raw / "semseg" / "pascal-context" / f"{name}.png")
        scipy.io.savemat(raw / "pascal-context" / "trainval" / f"{name}.mat", {"LabelMap": drawn.context})
        scipy.io.savemat(raw / "human_parts" / f"{name}.mat", annotation(drawn), do_compression=True)
        vectors = np.rint((drawn.normals + 1) * 127.5).astype(np.uint8)
        vectors[:, :2] = 128
        Image.fromarray(vectors).save(raw / "normals_distill" / f"{name}.png")
        Image.fromarray(np.where(drawn.salient, 200, 100).astype(np.uint8)).save(raw / "sal_distill" / f"{name}.png")
    # An image of VOC that PASCAL-Context has not: in no list.
    Image.new("RGB", (20, 20)).save(raw / "JPEGImages" / "2007_000001.jpg")
    for split, names in (("train", TRAIN), ("val", VAL)):
        (raw / "ImageSets" / "Context" / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
        classes = {name: [12, 15, -1] if scenes[name].parts.any() else [12] for name in names}
        (raw / "ImageSets" / "Parts" / f"{split}.txt").write_text(json.dumps(classes))
    return scenes
