"""A folder of one's own with everything that may lie in it."""

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 12, 16


def draw(raw):
    """Two images in every split, with targets of all tasks in train and val; what was drawn, by split and stem."""
    return {(split, stem): _draw(raw / split, split, stem) for split in ("train", "val", "test") for stem in ("a", "b")}


def _draw(split, name, stem):
    random = np.random.default_rng([len(name), ord(stem)])
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[3:9, 4:10], labels[6:, 10:], labels[:2, :5] = 1, 2, 255
    _png(split / "images" / f"{stem}.png", random.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8))
    _png(split / "labels" / f"{stem}.png", np.where(labels == 255, 11, labels).astype(np.uint8))
    truth = {"labels": labels}
    if name != "test":
        truth |= _targets(split, name, stem, random)
    return truth


def _targets(split, name, stem, random):
    known = random.random((HEIGHT, WIDTH)) > 0.2
    millimetres = random.integers(400, 10_000, (HEIGHT, WIDTH)) * known
    depth = np.where(known, millimetres / 1000, np.nan).astype(np.float32)
    vectors = random.normal((0, 0, 3), 1, (HEIGHT, WIDTH, 3))
    vectors = np.where(known[..., None], vectors / np.linalg.norm(vectors, axis=2, keepdims=True), np.nan)
    # One format for each split: both are read alike.
    if name == "train":
        _png(split / "depth" / f"{stem}.png", millimetres.astype(np.uint16))
        _png(split / "normals" / f"{stem}.png", np.nan_to_num((vectors + 1) / 2 * 255, nan=0).round().astype(np.uint8))
    else:
        _npy(split / "depth" / f"{stem}.npy", np.where(known, depth, 0).astype(np.float64))
        _npy(split / "normals" / f"{stem}.npy", vectors.astype(np.float32))
    edges = random.integers(0, 2, (3 if stem == "b" else 1, HEIGHT, WIDTH), np.uint8)
    edges[:, 0, :4] = 255
    grey = np.array([0, 255], np.uint8)[edges % 255] * (edges != 255) + 128 * (edges == 255).astype(np.uint8)
    for number, mask in enumerate(grey):
        # A file, or a folder with one of each annotator.
        _png(split / "edges" / (f"{stem}/{number}.png" if len(edges) > 1 else f"{stem}.png"), mask.astype(np.uint8))
    saliency = random.integers(0, 2, (1, HEIGHT, WIDTH), np.uint8)
    _png(split / "saliency" / f"{stem}.png", saliency[0] * (255 if stem == "a" else 1))
    parts = random.choice(np.array([0, 1, 5, 255], np.uint8), (1, HEIGHT, WIDTH))
    _png(split / "human_parts" / f"{stem}.png", parts[0])
    hha = random.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    _png(split / "hha" / f"{stem}.png", hha)
    return {
        "depth": depth[None], "normals": vectors.transpose(2, 0, 1), "edges": edges, "saliency": saliency,
        "human_parts": parts, "hha": hha.transpose(2, 0, 1),
    }  # fmt: skip


def _png(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def _npy(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)
