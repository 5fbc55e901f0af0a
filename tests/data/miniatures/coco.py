"""The tree of COCO 2017: JPEG images, instances of polygons and run lengths, and panoptic pictures with their JSON."""

import json

import numpy as np
from PIL import Image
from pycocotools import mask

HEIGHT, WIDTH = 24, 32
# With the gaps that COCO's ids have.
CATEGORIES = {1: "person", 3: "car", 18: "dog", 90: "toothbrush"}
SPLITS = {"train2017": (9, 25), "val2017": (139,)}
BOXES = {
    # Category, top, bottom, left, right: the dog lies in front of the person, and both on the car.
    9: [(18, 8, 14, 10, 16), (1, 4, 20, 8, 20), (3, 2, 22, 4, 28)],
    25: [],
    139: [(90, 3, 9, 3, 9), (1, 10, 20, 2, 30)],
}
CROWD = (1, 0, 10, 20, 32)
"""On the first image, as run lengths; the car is painted over it."""


def draw(raw):
    """Category ids by image as they must be painted, 0 for background; the crowd counts as its category."""
    truth = {}
    for split, numbers in SPLITS.items():
        images, objects = [], []
        for number in numbers:
            name = f"{number:012d}.jpg"
            random = np.random.default_rng(number)
            _save(Image.fromarray(random.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)), raw / split / name)
            images.append({"id": number, "file_name": name, "height": HEIGHT, "width": WIDTH, "license": 1})
            truth[number] = np.zeros((HEIGHT, WIDTH), np.uint8)
            if number == 9:
                objects.append(crowd(number))
                _fill(truth[number], CROWD)
            objects += [polygon(number, place, box) for place, box in enumerate(BOXES[number])]
            for box in sorted(BOXES[number], key=lambda box: -(box[2] - box[1]) * (box[4] - box[3])):
                _fill(truth[number], box)
        write(raw / "annotations" / f"instances_{split}.json", images, objects)
    return truth


def polygon(image, place, box):
    """An object as COCO has it, its corners in pixels."""
    category, top, bottom, left, right = box
    corners = [float(value) for value in (left, top, right, top, right, bottom, left, bottom)]
    return {
        "id": 1000 * image + place, "image_id": image, "category_id": category, "iscrowd": 0,
        "segmentation": [corners], "area": float((right - left) * (bottom - top)),
        "bbox": [left, top, right - left, bottom - top],
    }  # fmt: skip


def crowd(image):
    """Run lengths, down the columns, of background and object in turns."""
    region = np.zeros((HEIGHT, WIDTH), np.uint8)
    _fill(region, (1, *CROWD[1:]))
    flat = region.T.ravel()
    changes = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *changes, flat.size]).tolist()
    counts = runs if flat[0] == 0 else [0, *runs]
    form = {"size": [HEIGHT, WIDTH], "counts": counts}
    return {"id": 900, "image_id": image, "category_id": CROWD[0], "iscrowd": 1, "segmentation": form, "area": 1.0}


def compressed(region):
    """The form of COCO-Stuff."""
    code = mask.encode(np.asfortranarray(region))
    return {"size": list(code["size"]), "counts": code["counts"].decode()}


def draw_panoptic(raw, truth):
    """Panoptic pictures of what `draw` drew, in which background is void."""
    for split, numbers in SPLITS.items():
        images, entries = [], []
        for number in numbers:
            name, segments = f"{number:012d}", []
            ids = np.zeros((HEIGHT, WIDTH), np.int64)
            for category in (int(value) for value in np.unique(truth[number]) if value):
                # Large enough for all three bytes to be needed.
                segment = 70_000 * category + number
                ids[truth[number] == category] = segment
                segments.append({"id": segment, "category_id": category, "iscrowd": 0, "area": 1})
            rgb = np.stack([ids & 255, ids >> 8 & 255, ids >> 16], axis=2).astype(np.uint8)
            _save(Image.fromarray(rgb), raw / "annotations" / f"panoptic_{split}" / f"{name}.png")
            images.append({"id": number, "file_name": f"{name}.jpg", "height": HEIGHT, "width": WIDTH})
            entries.append({"image_id": number, "file_name": f"{name}.png", "segments_info": segments})
        write(raw / "annotations" / f"panoptic_{split}.json", images, entries)


def write(path, images, annotations, categories=CATEGORIES):
    named = [{"id": number, "name": name, "supercategory": "x"} for number, name in reversed(categories.items())]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"info": {}, "images": images, "annotations": annotations, "categories": named}))


def _fill(array, box):
    category, top, bottom, left, right = box
    array[top:bottom, left:right] = category


def _save(picture, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
