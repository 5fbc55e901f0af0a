"""Data sets to samples: the readers, and the Parquet stores behind them."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from inverseform.data.dataset import Dataset
from inverseform.data.folder import FolderParams, open_folder
from inverseform.data.mni import MniParams, open_mni
from inverseform.data.procedural import ProceduralParams, open_procedural

DataParams = Annotated[MniParams | FolderParams | ProceduralParams, Field(discriminator="name")]
"""Which data set, told by its `name`."""

__all__ = ["DataParams", "Dataset", "FolderParams", "MniParams", "ProceduralParams", "open_dataset"]


def open_dataset(params: MniParams | FolderParams | ProceduralParams, raw: Path) -> Dataset:
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
        case MniParams():
            return open_mni()
