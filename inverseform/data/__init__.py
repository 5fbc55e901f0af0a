"""Data sets to samples: the readers, and the Parquet stores behind them."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from inverseform.data.bsds500 import Bsds500Params, open_bsds500
from inverseform.data.camvid import CamvidParams, open_camvid
from inverseform.data.cityscapes import CityscapesParams, open_cityscapes
from inverseform.data.coco import CocoParams, open_coco
from inverseform.data.dataset import Dataset
from inverseform.data.folder import FolderParams, open_folder
from inverseform.data.huggingface import HuggingfaceParams, open_huggingface
from inverseform.data.mapillary import MapillaryParams, open_mapillary
from inverseform.data.mni import MniParams, open_mni
from inverseform.data.nyuv2 import Nyuv2Params, open_nyuv2
from inverseform.data.pascal_context import PascalContextParams, open_pascal_context
from inverseform.data.procedural import ProceduralParams, open_procedural
from inverseform.data.voc import VocParams, open_voc

AnyParams = (
    MniParams | ProceduralParams | FolderParams | CocoParams | VocParams | HuggingfaceParams
    | CityscapesParams | MapillaryParams | CamvidParams | Bsds500Params
    | Nyuv2Params | PascalContextParams
)  # fmt: skip
"""The settings of every reader."""
DataParams = Annotated[AnyParams, Field(discriminator="name")]
"""Which data set, told by its `name`."""

__all__ = [
    "Bsds500Params", "CamvidParams", "CityscapesParams", "CocoParams", "DataParams", "Dataset", "FolderParams",
    "HuggingfaceParams", "MapillaryParams", "MniParams", "Nyuv2Params", "PascalContextParams", "ProceduralParams",
    "VocParams", "open_dataset",
]  # fmt: skip


def open_dataset(params: AnyParams, raw: Path) -> Dataset:
    """Open the data set that the settings name.

    Args:
        params: Which one.
        raw: The folder with the files of the data set; the embedded default and the drawn one do not look at it.

    Raises:
        InputError: It is not there, or not laid out as it must be.
    """
    match params:
        case MniParams():
            return open_mni()
        case ProceduralParams():
            return open_procedural(params)
        case FolderParams():
            return open_folder(params, raw)
        case CocoParams():
            return open_coco(params, raw)
        case VocParams():
            return open_voc(params, raw)
        case HuggingfaceParams():
            return open_huggingface(params, raw)
        case CityscapesParams():
            return open_cityscapes(params, raw)
        case MapillaryParams():
            return open_mapillary(params, raw)
        case CamvidParams():
            return open_camvid(params, raw)
        case Bsds500Params():
            return open_bsds500(params, raw)
        case Nyuv2Params():
            return open_nyuv2(params, raw)
        case PascalContextParams():
            return open_pascal_context(params, raw)
