"""Data sets to samples: the readers, and the Parquet stores behind them."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from inverseform.data.coco import CocoParams, open_coco
from inverseform.data.dataset import Dataset
from inverseform.data.folder import FolderParams, open_folder
from inverseform.data.huggingface import HuggingfaceParams, open_huggingface
from inverseform.data.mni import MniParams, open_mni
from inverseform.data.procedural import ProceduralParams, open_procedural
from inverseform.data.voc import VocParams, open_voc

AnyParams = MniParams | FolderParams | ProceduralParams | CocoParams | VocParams | HuggingfaceParams
"""The settings of every reader."""
DataParams = Annotated[AnyParams, Field(discriminator="name")]
"""Which data set, told by its `name`."""

__all__ = [
    "CocoParams",
    "DataParams",
    "Dataset",
    "FolderParams",
    "HuggingfaceParams",
    "MniParams",
    "ProceduralParams",
    "VocParams",
    "open_dataset",
]


def open_dataset(params: AnyParams, raw: Path) -> Dataset:
    """Open the data set that the settings name.

    Args:
        params: Which one.
        raw: The folder with a data set of one's own; the embedded default and the drawn one do not look at it.

    Raises:
        InputError: It is not there, or not laid out as it must be.
    """
    match params:
        case FolderParams():
            return open_folder(params, raw)
        case ProceduralParams():
            return open_procedural(params)
        case CocoParams():
            return open_coco(params, raw)
        case VocParams():
            return open_voc(params, raw)
        case HuggingfaceParams():
            return open_huggingface(params, raw)
        case MniParams():
            return open_mni()
