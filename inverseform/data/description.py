"""dataset.json of a sample store: what holds for all samples, and which shards there are, with their checksums."""

import json
from pathlib import Path

from pydantic import NonNegativeInt

from inverseform.boundary import BoundaryParams
from inverseform.data.dataset import Colour
from inverseform.data.digest import ShardDigest, digest_of
from inverseform.data.shards import ShardFormat, open_shard, shards
from inverseform.settings import InputError, Settings

FORMAT = ShardFormat("samples", 4, "ingest")
INFO = "dataset.json"


class DatasetInfo(Settings):
    """What holds for all samples of a store."""

    source: str
    """Which reader they came through."""
    classes: tuple[str, ...]
    """Names by class id."""
    colours: tuple[Colour, ...]
    """One per class, for pictures."""
    boundary: BoundaryParams
    """How the boundary maps were made."""
    tasks: tuple[str, ...] = ()
    """Tasks beside segmentation that the samples have targets for."""
    counts: dict[str, NonNegativeInt]
    """Samples in each split."""


class Description(Settings):
    """dataset.json."""

    version: int
    """Of the format of the shards."""
    info: DatasetInfo
    shards: dict[str, tuple[ShardDigest, ...]]
    """Of each split, in their order."""


def write_info(folder: Path, info: DatasetInfo, digests: dict[str, list[ShardDigest]] | None = None) -> None:
    """Write dataset.json, which says that all shards are there.

    Args:
        folder: With the shards.
        info: What holds for all samples.
        digests: Of the shards of each split; without them, the shards are read for it.
    """
    if digests is None:
        digests = {split: [_digest(path, info) for path in shards(folder, split)] for split in info.counts}
    listed = {split: tuple(digests[split]) for split in info.counts}
    said = Description(version=FORMAT.version, info=info, shards=listed)
    (folder / INFO).write_text(said.model_dump_json(indent=1) + "\n")


def read_description(folder: Path) -> Description:
    """Read dataset.json.

    Raises:
        InputError: It is not there, or is not what ingest of this version writes.
    """
    path = folder / INFO
    remedy = f"delete {folder} and run `dvc repro {FORMAT.stage}`"
    try:
        text = path.read_bytes()
        said = json.loads(text)
        # Version 3 had none: its description is that of the samples alone.
        version = said.get("version", 3 if "counts" in said else None)
        if version not in (None, FORMAT.version):
            raise InputError(
                f"{path}: describes samples of version {version} and samples of version {FORMAT.version} was "
                f"expected; {remedy}"
            )
        return Description.model_validate_json(text)
    except FileNotFoundError as error:
        raise InputError(f"{path}: is missing; {remedy}") from error
    except InputError:
        raise
    except (ValueError, AttributeError) as error:
        raise InputError(f"{path}: is not what ingest writes; {remedy}") from error


def _digest(path: Path, info: DatasetInfo) -> ShardDigest:
    shard = open_shard(path, format=FORMAT, settings=info.model_dump(mode="json"))
    return digest_of(path, samples=sum(shard.groups))
