"""The three forms in which people have NYU Depth V2, each to the same frames; `nyuv2` tells them apart."""

import io
import tokenize
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Integer, Shaped, UInt8

from inverseform.data.dataset import decode_image, encode_png, open_map
from inverseform.data.layout import LayoutError
from inverseform.data.list_files import Files, Kind, listed
from inverseform.data.matlab import read_mat
from inverseform.settings import InputError

LABELLED = "nyu_depth_v2_labeled.mat"


class Frame(NamedTuple):
    """One image with what a layout has for it; None is not there, or was not asked for."""

    encoded: bytes
    """The image as PNG or JPEG."""
    image: UInt8[np.ndarray, "height width 3"]
    labels: Integer[np.ndarray, "rows columns"]
    """Of the 40 classes from 1; 0 where the class is not known."""
    depth: Float[np.ndarray, "rows_of_depth columns_of_depth"]
    """Metres; 0 where it is not known."""
    normals: Float[np.ndarray, "rows_of_normals columns_of_normals 3"] | None = None
    """In the axes of the file."""
    edges: Shaped[np.ndarray, "rows_of_edges columns_of_edges"] | None = None
    """0 to 1."""
    hha: UInt8[np.ndarray, "rows_of_hha columns_of_hha 3"] | None = None


Frames = dict[str, dict[str, tuple[str, Callable[[], Frame]]]]
"""By split and name: where a frame is, for messages, and how to read it."""


def multi_task_frames(raw: Path, tasks: tuple[str, ...]) -> Frames:
    """Frames of Multi-Task-Learning-PyTorch's layout, NYUD_MT."""
    kinds = {
        "image": Kind("image", (raw / "images",), ".jpg"),
        "labels": Kind("label map", (raw / "segmentation",), ".png"),
    }
    kinds["depth"] = Kind("depth map", (raw / "depth",), ".npy")
    if "normals" in tasks:
        kinds["normals"] = Kind("normal map", (raw / "normals",), ".npy")
    if "edges" in tasks:
        kinds["edges"] = Kind("edge map", (raw / "edge",), ".npy")
    held_out = raw / "gt_sets" / "val.txt"
    return _frames(listed({"train": raw / "gt_sets" / "train.txt", "val": held_out, "test": held_out}, kinds))


def sa_gate_frames(raw: Path, tasks: tuple[str, ...]) -> Frames:
    """Frames of SA-Gate's layout, NYUDepthv2."""
    kinds = {"image": Kind("image", (raw / "RGB",), ".jpg"), "labels": Kind("label map", (raw / "Label",), ".png")}
    kinds["depth"] = Kind("depth map", (raw / "Depth",), ".npy")
    if "hha" in tasks:
        kinds["hha"] = Kind("HHA image", (raw / "HHA",), ".jpg")
    held_out = raw / "test.txt"
    return _frames(listed({"train": raw / "train.txt", "val": held_out, "test": held_out}, kinds, name=_pair))


def official_frames(raw: Path) -> Frames:
    """Frames of the authors' own MATLAB file, numbered from 1 as in its splits.mat."""
    needed = {LABELLED: "the images", "splits.mat": "who is in which split", "classMapping40.mat": "40 classes of 894"}
    if missing := [
        f"{raw / file}: is missing; it has {what}" for file, what in needed.items() if not (raw / file).is_file()
    ]:
        raise LayoutError(missing)
    mapping = raw / "classMapping40.mat"
    (forty,) = read_mat(mapping, "mapClass")
    forty = np.asarray(forty)
    if forty.shape != (894,) or forty.dtype.kind not in "iuf" or not np.isin(forty, np.arange(1, 41)).all():
        raise InputError(
            f"{mapping}: mapClass has the shape {forty.shape} of {forty.dtype}; it must give each "
            f"of 894 classes one of 1 to 40: copy it again"
        )
    classes = np.concatenate([[0], forty.astype(np.int64)])
    training, held_out = read_mat(raw / "splits.mat", "trainNdxs", "testNdxs")
    frames: Frames = {}
    for split, found in (("train", training), ("val", held_out), ("test", held_out)):
        # One number alone comes without its matrix.
        numbers = np.atleast_1d(found)
        # Number 0 would be the last image, silently.
        if numbers.dtype.kind == "f" and (numbers % 1 == 0).all():
            numbers = numbers.astype(np.int64)
        if numbers.dtype.kind not in "iu" or not len(numbers) or numbers.min() < 1:
            raise InputError(
                f"{raw / 'splits.mat'}: has numbers of images below 1, or fractions, or none; copy it again"
            )
        frames[split] = {
            f"{number:04d}": (f"{raw / LABELLED}: image {number}", partial(_official, raw / LABELLED, number, classes))
            for number in numbers.tolist()
        }
    return frames


def _pair(line: str) -> str:
    """The stem of "RGB/2.jpg<TAB>Label/2.png"."""
    image, *label = (PurePosixPath(part) for part in line.strip().split("\t"))
    if len(label) != 1 or image.stem != label[0].stem or (image.parent.name, label[0].parent.name) != ("RGB", "Label"):
        raise ValueError("it must be like RGB/2.jpg, a tab, Label/2.png; copy the list again")
    return image.stem


def _frames(splits: Mapping[str, Mapping[str, Files]]) -> Frames:
    return {
        split: {name: (str(files["labels"]), partial(_files, files)) for name, files in names.items()}
        for split, names in splits.items()
    }


def _files(files: Files) -> Frame:
    encoded = files["image"].read_bytes()
    return Frame(
        encoded,
        decode_image(encoded, source=str(files["image"])),
        _labels(files["labels"]),
        _array(files, "depth", channels=0),
        normals=_array(files, "normals", channels=3),
        edges=_array(files, "edges", channels=0),
        hha=decode_image(files["hha"].read_bytes(), source=str(files["hha"])) if "hha" in files else None,
    )


def _labels(path: Path) -> Integer[np.ndarray, "rows columns"]:
    values = np.array(open_map(path.read_bytes(), source=str(path)))
    if values.ndim != 2:
        raise InputError(
            f"{path}: has {values.shape[2]} channels; a label map has one, grey or a palette: copy it again"
        )
    return values


def _array(files: Files, kind: str, *, channels: int) -> Any:  # noqa: ANN401 (a map or a map of vectors)
    """An array of numpy's own format, or None where there is none of that kind."""
    if kind not in files:
        return None
    path = files[kind]
    try:
        # Without pickles: they run code when they are read. numpy.load would take .npz for .npy, too.
        array = np.lib.format.read_array(io.BytesIO(path.read_bytes()), allow_pickle=False)
    # A damaged header may ask for any memory, or be no Python.
    except (ValueError, OSError, EOFError, MemoryError, tokenize.TokenError) as error:
        raise InputError(f"{path}: cannot be read as an array of numpy ({error}); copy it again") from error
    if array.ndim == 3 and array.shape[2] == 1 and not channels:
        array = array[..., 0]
    if array.shape[2:] != ((channels,) if channels else ()) or array.ndim < 2 or array.dtype.kind not in "fiub":
        wanted = f"(height, width{f', {channels}' if channels else ''})"
        raise InputError(
            f"{path}: is {array.dtype} of the shape {array.shape}; it must be numbers of {wanted}: copy it again"
        )
    return array.astype(np.float32)


def _official(path: Path, number: int, classes: Integer[np.ndarray, "895"]) -> Frame:
    try:
        import h5py
    except ImportError as error:
        raise InputError(f'{path}: is read by h5py, which is missing; pip install "inverseform[matlab]"') from error
    try:
        with h5py.File(path, "r") as file:
            found = {name: file[name] for name in ("images", "labels", "depths")}
            # MATLAB counts the first axis fastest, HDF5 the last: all axes are the other way round.
            image, labels, depth = (
                np.ascontiguousarray(matrices[number - 1].T)
                for matrices in found.values()
                if isinstance(matrices, h5py.Dataset)
            )
    except (OSError, KeyError, IndexError, ValueError) as error:
        raise InputError(f"{path}: image {number} cannot be read ({error}); copy it again") from error
    if image.dtype != np.uint8 or image.shape[2:] != (3,) or labels.dtype.kind not in "iu" or depth.dtype.kind != "f":
        raise InputError(
            f"{path}: image {number} is {image.dtype} of the shape {image.shape}, its labels {labels.dtype}, its depth "
            f"{depth.dtype}; they are uint8 of (height, width, 3), uint16 and float32: copy it again"
        )
    strange = labels[(labels < 0) | (labels >= len(classes))]
    if strange.size:
        raise InputError(f"{path}: image {number} has the label {strange[0]}; labels are 0 to 894: copy it again")
    return Frame(encode_png(image), image, classes[labels], depth)
