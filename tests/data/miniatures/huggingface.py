"""Data sets as the hub has them (Parquet beside a card), as its cache keeps them, and as save_to_disk writes them."""

import io
import shutil

import datasets
import numpy as np
from PIL import Image

SIZES = {"train": 4, "validation": 2}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def truths():
    """Label maps by split: 0 for unknown, classes from 1, as many data sets have it."""
    return {
        split: [
            np.kron(np.random.default_rng([n, size]).integers(0, 4, (3, 4)), np.ones((4, 4), int)) for n in range(size)
        ]
        for split, size in SIZES.items()
    }


def dataset(labels=None):
    """Images as JPEG, PNG and WebP in turns, label maps as PNG, or as arrays."""
    kind = labels or datasets.Image()
    features = datasets.Features({"pixel_values": datasets.Image(), "label": kind, "id": datasets.Value("int32")})
    return datasets.DatasetDict(
        {
            split: datasets.Dataset.from_list(
                [_row(n, truth, labels) for n, truth in enumerate(found)], features=features
            )
            for split, found in truths().items()
        }
    )


def photo(number):
    return np.random.default_rng(number).integers(0, 256, (12, 16, 3), np.uint8)


def _row(number, truth, labels):
    file = io.BytesIO()
    form = ("JPEG", "PNG", "WEBP")[number % 3]
    Image.fromarray(photo(number)).save(file, form, **({"lossless": True} if form == "WEBP" else {}))
    mask = io.BytesIO()
    Image.fromarray(truth.astype(np.uint8)).save(mask, "PNG")
    label = {"bytes": mask.getvalue(), "path": None} if labels is None else truth.tolist()
    return {"pixel_values": {"bytes": file.getvalue(), "path": None}, "label": label, "id": number}


def write_files(folder):
    """As on the hub."""
    (folder / "data").mkdir(parents=True)
    for split, rows in dataset().items():
        rows.to_parquet(folder / "data" / f"{split}-00000-of-00001.parquet")
    sizes = "".join(f"  - name: {split}\n    num_bytes: 1\n    num_examples: {size}\n" for split, size in SIZES.items())
    (folder / "README.md").write_text(
        "---\nlicense: cc0-1.0\ndataset_info:\n  splits:\n" + sizes + "---\n# drawn\nSee https://example.org\n"
    )


def write_cache(cache, name):
    """As huggingface_hub keeps a copy."""
    folder = cache / f"datasets--{name.replace('/', '--')}"
    write_files(folder / "snapshots" / COMMIT)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(COMMIT)
    (folder / "blobs").mkdir()


def write_disk(folder):
    """As save_to_disk."""
    shutil.rmtree(folder, ignore_errors=True)
    dataset().save_to_disk(folder)
