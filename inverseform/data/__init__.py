"""Data sets to samples: the readers, and the Parquet stores behind them."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from inverseform.data.dataset import Dataset
from inverseform.data.folder import FolderParams, open_folder
from inverseform.data.mni import MniParams, open_mni

DataParams = Annotated[MniParams | FolderParams, Field(discriminator="name")]
"""Which data set, told by its `name`."""

__all__ = ["DataParams", "Dataset", "FolderParams", "MniParams", "open_dataset"]


def open_dataset(params: MniParams | FolderParams, raw: Path) -> Dataset:
    """Open the data set that the settings name.

    Args:
        params: Which one.
        raw: The folder with a data set of one's own; the embedded default does not look at it.

    Raises:
        InputError: It is not there, or not laid out as it must be.
    """
    return open_folder(params, raw) if isinstance(params, FolderParams) else open_mni()
