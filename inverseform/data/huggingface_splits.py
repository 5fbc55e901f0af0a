"""Where Hugging Face data sets lie on a machine, and their splits."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from inverseform.data.layout import LayoutError

if TYPE_CHECKING:
    import datasets

_SAVED = "dataset_dict.json"
"""What save_to_disk writes beside the splits."""


def snapshot(dataset: str, *, revision: str | None, download: bool) -> Path:
    """The copy on this machine of a data set of the hub.

    Args:
        dataset: Its name, as in owner/name.
        revision: A commit; None for the newest that is known.
        download: Whether to ask the hub at all.

    Raises:
        LayoutError: There is none.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(dataset, repo_type="dataset", revision=revision, local_files_only=not download))
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError) as error:
        told = str(error).strip().partition("\n")[0]
        what = "could not be had from the hub" if download else "is not on this machine"
        advice = "look at its name and your access" if download else "set ingest.data.where to hub to download it"
        raise LayoutError([f"{dataset}: {what} ({told}); {advice}"]) from error


def opened(folder: Path, wanted: Mapping[str, str], *, configuration: str | None) -> dict[str, "datasets.Dataset"]:
    """Splits of a folder, by our names; `wanted` has theirs.

    Raises:
        LayoutError: It is no data set, or lacks one of them.
    """
    if not folder.is_dir():
        raise LayoutError([f"{folder}: there is no such folder; copy the data set there, or set ingest.data.where"])
    if (folder / _SAVED).is_file():
        return _from_disk(folder, wanted)
    return _from_files(folder, wanted, configuration)


def _from_disk(folder: Path, wanted: Mapping[str, str]) -> dict[str, "datasets.Dataset"]:
    """Splits that save_to_disk wrote."""
    import datasets

    try:
        saved = datasets.load_from_disk(str(folder))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LayoutError([f"{folder}: cannot be opened ({error}); write it again with save_to_disk"]) from error
    assert isinstance(saved, datasets.DatasetDict)
    problems = [
        f"{folder}: has no split {name}; it has {', '.join(map(str, saved))}"
        for name in wanted.values()
        if name not in saved
    ]
    if problems:
        raise LayoutError(list(dict.fromkeys(problems)))
    return {split: saved[name] for split, name in wanted.items()}


def _from_files(folder: Path, wanted: Mapping[str, str], configuration: str | None) -> dict[str, "datasets.Dataset"]:
    """Splits of files that datasets knows to read."""
    import datasets
    from datasets.exceptions import DatasetsError

    _stays_here(folder)
    try:
        builder = datasets.load_dataset_builder(
            str(folder),
            configuration,
            # For the files; a copy that is here is complete.
            download_config=datasets.DownloadConfig(local_files_only=True),
        )
        builder.download_and_prepare()
        return {split: builder.as_dataset(split=name) for split, name in wanted.items()}  # pyright: ignore[reportReturnType]
    except (DatasetsError, OSError, ValueError, KeyError, RuntimeError) as error:
        told = str(error).strip().partition("\n")[0]
        raise LayoutError([f"{folder}: cannot be opened ({told}); correct ingest.data in params.yaml"]) from error


def _stays_here(folder: Path) -> None:
    """Refuse a card that names files elsewhere, which would be downloaded."""
    for card in (folder / "README.md", folder / ".huggingface.yaml"):
        # The settings of a card stand between two lines of ---; what people write below them may have addresses.
        text = card.read_text(encoding="utf-8") if card.is_file() else ""
        settings = text.split("---")[1:2] if card.suffix == ".md" and text.startswith("---") else [text]
        if card.suffix == ".md" and not text.startswith("---"):
            settings = []
        if "data_files" in "".join(settings) and "://" in "".join(settings):
            raise LayoutError([f"{card}: names files of another machine; copy them here and name them without ://"])
