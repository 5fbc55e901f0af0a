"""NYU Depth V2 (Silberman et al., ECCV 2012): 1449 indoor images of 640x480 with depth, in 40 classes.

`layout` says which of three forms lies in data/raw:

- multi_task, the NYUD_MT archive of ASTMT as Multi-Task-Learning-PyTorch reads it:
  images/*.jpg, segmentation/*.png, depth/*.npy, normals/*.npy, edge/*.npy, gt_sets/{train,val}.txt;
- sa_gate, NYUDepthv2 of SA-Gate: RGB/*.jpg, Label/*.png, Depth/*.npy, HHA/*.jpg, {train,test}.txt;
- official: nyu_depth_v2_labeled.mat of the authors, beside it their splits.mat and Gupta et al.'s classMapping40.mat.

There are two published lists only: train is the one of 795 images, and val and test are both the one of 654.

The 40 classes are those of Gupta, Arbelaez and Malik (CVPR 2013); files have 1 to 40, and 0 where nothing is known,
which is 255 here. What a layout has no files for is made: normals and HHA from depth (`hha`), edges from labels
(`boundary`). Folders of edges, normals and HHA may be missing where those tasks are not asked for.

Traps: depth is the in-painted one in all three, and an area without any is 0. SA-Gate's HHA files are JPEG with
disparity in red, height in green, angle in blue. The MATLAB file has images, depths and labels transposed. Normals come
in the axes of whoever made them: set `normals_axes`; that is checked against the depth of each image.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float16, Float32, Shaped, UInt8

from inverseform.boundary import boundaries
from inverseform.data.dataset import Dataset, Reading
from inverseform.data.hha import CameraParams, hha, normals_from_depth
from inverseform.data.id_table import class_ids
from inverseform.data.normal_axes import NormalAxes, check_axes, check_length, unit_normals
from inverseform.data.nyuv2_layouts import Frame, Frames, multi_task_frames, official_frames, sa_gate_frames
from inverseform.data.voc_colours import voc_colours
from inverseform.sample import IGNORE_INDEX
from inverseform.settings import InputError, Settings

CLASSES = (
    "wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf", "picture", "counter",
    "blinds", "desk", "shelves", "curtain", "dresser", "pillow", "mirror", "floor mat", "clothes", "ceiling", "books",
    "refrigerator", "television", "paper", "towel", "shower curtain", "box", "whiteboard", "person", "night stand",
    "toilet", "sink", "lamp", "bathtub", "bag", "other structure", "other furniture", "other prop",
)  # fmt: skip
Task = Literal["depth", "normals", "edges", "hha"]
IDS = {0: IGNORE_INDEX} | {number: number - 1 for number in range(1, len(CLASSES) + 1)}


class Nyuv2Params(Settings):
    """NYU Depth V2, in the 40 classes."""

    name: Literal["nyuv2"]
    """Which data set: NYU Depth V2 under data/raw, whose README.md describes its layouts."""
    layout: Literal["multi_task", "sa_gate", "official"]
    """multi_task: NYUD_MT of Multi-Task-Learning-PyTorch. sa_gate: NYUDepthv2 of SA-Gate. official: the MATLAB file."""
    tasks: tuple[Task, ...]
    """What samples carry beside image and labels. In the store an image takes some 0.1 MB, and besides 1.0 for
    depth, 1.6 for normals, 0.5 for hha, and little for edges."""
    camera: CameraParams
    """Of the images, for what is made from depth: see there for NYUv2's."""
    normals_axes: NormalAxes
    """Where the x and y axes of normal files point in the image; only layout multi_task has such files,
    and NYUD_MT's point left and up, as far as is known."""


@dataclass(frozen=True)
class Nyuv2Source:
    """One image with its depth."""

    name: str
    place: str
    frame: Callable[[], Frame]
    params: Nyuv2Params

    def read(self) -> Reading:
        """Read the image, its labels, and the targets that are asked for.

        Raises:
            InputError: A file is damaged, of another size than the image, or has values that there cannot be.
        """
        frame = self.frame()
        size = frame.image.shape[:2]
        for what in ("labels", "depth", "normals", "edges", "hha"):
            array = getattr(frame, what)
            if array is not None and array.shape[:2] != size:
                raise InputError(
                    f"{self.place}: has {what} of {array.shape[1]}x{array.shape[0]} pixels (width x height) and an "
                    f"image of {size[1]}x{size[0]}; they must be alike: copy the data set again"
                )
        labels = class_ids(frame.labels, IDS, source=self.place)
        depth = np.where(frame.depth > 0, frame.depth, np.nan).astype(np.float32)
        targets = {task: self._target(task, frame, labels, depth) for task in self.params.tasks}
        return Reading(frame.encoded, frame.image, labels, targets=targets)

    def _target(
        self,
        task: Task,
        frame: Frame,
        labels: UInt8[np.ndarray, "height width"],
        depth: Float32[np.ndarray, "height width"],
    ) -> Shaped[np.ndarray, "channels height width"]:
        match task:
            case "depth":
                return depth[None]
            case "normals":
                return self._normals(frame, depth)
            case "edges":
                return _edges_of(labels) if frame.edges is None else self._edges(frame.edges)
            case "hha":
                return hha(depth, self.params.camera) if frame.hha is None else frame.hha.transpose(2, 0, 1)

    def _normals(
        self, frame: Frame, depth: Float32[np.ndarray, "height width"]
    ) -> Float16[np.ndarray, "3 height width"]:
        seen = normals_from_depth(depth, self.params.camera)
        if frame.normals is None:
            return seen.astype(np.float16)
        check_length(np.linalg.norm(frame.normals, axis=2), source=self.place)
        normals = unit_normals(frame.normals, self.params.normals_axes)
        check_axes(normals, seen, self.params.normals_axes, source=self.place)
        return normals

    def _edges(self, edges: Shaped[np.ndarray, "height width"]) -> UInt8[np.ndarray, "1 height width"]:
        if not ((edges >= 0) & (edges <= 1)).all():
            raise InputError(
                f"{self.place}: its edges have {edges.min()} to {edges.max()}; they are 0 to 1: copy it again"
            )
        return (edges >= 0.5).astype(np.uint8)[None]


def open_nyuv2(params: Nyuv2Params, raw: Path) -> Dataset:
    """List the frames of all splits; none is read yet.

    Raises:
        LayoutError: Files are missing.
        InputError: A list or mapping is damaged.
    """
    splits = {
        split: [Nyuv2Source(name, place, frame, params) for name, (place, frame) in frames.items()]
        for split, frames in _frames(params, raw).items()
    }
    # The first colour of VOC's is black, which shows what is not known.
    return Dataset(
        "nyuv2",
        CLASSES,
        voc_colours(len(CLASSES) + 1)[1:],
        splits,
        tasks=params.tasks,
        expected={"train": 795, "val": 654, "test": 654},
    )


def _frames(params: Nyuv2Params, raw: Path) -> Frames:
    match params.layout:
        case "multi_task":
            return multi_task_frames(raw, params.tasks)
        case "sa_gate":
            return sa_gate_frames(raw, params.tasks)
        case "official":
            return official_frames(raw)


def _edges_of(labels: UInt8[np.ndarray, "height width"]) -> UInt8[np.ndarray, "1 height width"]:
    """Borders between classes, 2 pixels wide; not known near pixels whose class is not."""
    boundary, valid = boundaries(torch.from_numpy(labels)[None], num_classes=len(CLASSES))
    return np.where(valid[0].bool(), boundary[0].byte(), IGNORE_INDEX).astype(np.uint8)
