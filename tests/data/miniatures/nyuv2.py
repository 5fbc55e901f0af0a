"""NYU Depth V2 in small: drawn rooms in the three layouts that it is handed around in."""

from functools import cache
from itertools import count

import h5py
import numpy as np
import scipy.io
from PIL import Image

from inverseform.data.hha import hha
from inverseform.data.voc_colours import voc_colours
from tests.data.miniatures.room import room

TRAIN, TEST = 3, 2
AXES = np.array([-1, 1, 1])
"""The published normals point left and up, where a room's point right and up."""


@cache
def rooms():
    """As many as there are images, of several classes each; in each a patch of no class and one of no depth."""
    drawn = []
    for number in count():
        scene = room(np.random.default_rng(number), 60, 80, tilt=10)
        if len(np.unique(scene.labels)) < 4:
            continue
        if len(drawn) == TRAIN + TEST:
            break
        labels, depth = scene.labels.copy(), scene.depth.astype(np.float32)
        labels[20:28, 30:44] = 0
        depth[:6, :7] = 0
        drawn.append(scene._replace(labels=labels, depth=depth))
    return drawn


def photo(scene):
    """A picture of a room, in colours that go by class."""
    return (scene.labels[..., None] * np.array([5, 3, 6]) + 10).astype(np.uint8)


def drawn_edges(scene):
    """Lines on some columns: not what labels would give."""
    edges = np.zeros(scene.labels.shape, dtype=np.float32)
    edges[:, 11::17] = 1
    return edges


def multi_task(raw):
    """NYUD_MT, as Multi-Task-Learning-PyTorch reads it."""
    scenes = rooms()
    for folder in ("images", "segmentation", "depth", "normals", "edge", "gt_sets"):
        (raw / folder).mkdir(parents=True)
    names = [f"{number + 1:04d}" for number in range(len(scenes))]
    for name, scene in zip(names, scenes, strict=True):
        Image.fromarray(photo(scene)).save(raw / "images" / f"{name}.jpg", quality=95)
        Image.fromarray(scene.labels).save(raw / "segmentation" / f"{name}.png")
        normals = (scene.normals.transpose(1, 2, 0) * AXES).astype(np.float32)
        normals[:3] = 0
        np.save(raw / "depth" / f"{name}.npy", scene.depth)
        np.save(raw / "normals" / f"{name}.npy", normals)
        np.save(raw / "edge" / f"{name}.npy", drawn_edges(scene))
    (raw / "gt_sets" / "train.txt").write_text("".join(f"{name}\n" for name in names[:TRAIN]))
    (raw / "gt_sets" / "val.txt").write_text("".join(f"{name}\n" for name in names[TRAIN:]))
    return dict(zip(names, scenes, strict=True))


def sa_gate(raw):
    """NYUDepthv2, as SA-Gate reads it: labels are palette PNG, names count from 0."""
    scenes = rooms()
    for folder in ("RGB", "Label", "Depth", "HHA"):
        (raw / folder).mkdir(parents=True)
    palette = [channel for colour in voc_colours(41) for channel in colour]
    lines = []
    for number, scene in enumerate(scenes):
        Image.fromarray(photo(scene)).save(raw / "RGB" / f"{number}.jpg", quality=95)
        labels = Image.fromarray(scene.labels, mode=None)
        labels.putpalette(palette)
        labels.save(raw / "Label" / f"{number}.png")
        np.save(raw / "Depth" / f"{number}.npy", scene.depth)
        encoded = hha(scene.depth, scene.camera).transpose(1, 2, 0)
        Image.fromarray(encoded).save(raw / "HHA" / f"{number}.jpg", quality=100, subsampling=0)
        lines.append(f"RGB/{number}.jpg\tLabel/{number}.png\n")
    (raw / "train.txt").write_text("".join(lines[:TRAIN]))
    (raw / "test.txt").write_text("".join(lines[TRAIN:]))
    return {str(number): scene for number, scene in enumerate(scenes)}


def official(raw):
    """The MATLAB files of the authors: HDF5 behind a block of MATLAB's own, all axes reversed, 894 classes."""
    scenes = rooms()
    raw.mkdir(parents=True)
    # Some of the 894 for each of the 40, in no order.
    forty = np.random.default_rng(0).permutation(np.arange(894) % 40 + 1).astype(np.uint8)
    many = np.array([0, *(np.flatnonzero(forty == label)[-1] + 1 for label in range(1, 41))], dtype=np.uint16)
    path = raw / "nyu_depth_v2_labeled.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["images"] = np.stack([photo(scene).T for scene in scenes])
        file["depths"] = np.stack([scene.depth.T for scene in scenes])
        file["labels"] = np.stack([many[scene.labels].T for scene in scenes])
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
    scipy.io.savemat(raw / "classMapping40.mat", {"mapClass": forty[None]})
    # Test images first: the published lists are mixed too.
    held_out = np.arange(1, TEST + 1, dtype=np.uint16)[:, None]
    training = np.arange(TEST + 1, TEST + TRAIN + 1, dtype=np.uint16)[:, None]
    scipy.io.savemat(raw / "splits.mat", {"trainNdxs": training, "testNdxs": held_out})
    return {f"{number + 1:04d}": scene for number, scene in enumerate(scenes)}
