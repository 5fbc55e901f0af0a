import datasets
import pytest

from inverseform.data.huggingface_splits import opened, snapshot
from inverseform.data.layout import LayoutError
from tests.data.miniatures import huggingface as miniature

WANTED = {"train": "train", "val": "validation"}


@pytest.fixture(autouse=True)
def _quiet(tmp_path, monkeypatch):
    """Caches of the test's own, no bars, and no way to the network."""

    def refuse(*_, **__):
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "arrow"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def test_a_copy_on_this_machine_is_found_by_its_name_and_commit(tmp_path):
    miniature.write_cache(tmp_path / "hub", "someone/drawn")
    for revision in (None, miniature.COMMIT):
        folder = snapshot("someone/drawn", revision=revision, download=False)
        assert folder.name == miniature.COMMIT and (folder / "README.md").is_file()


def test_what_is_not_there_is_told_with_what_to_set(tmp_path):
    with pytest.raises(LayoutError, match=r"someone/other: is not on this machine \(.*set ingest.data.where to hub"):
        snapshot("someone/other", revision=None, download=False)
    with pytest.raises(LayoutError, match=r"a/b/c: is not on this machine \(Repo id"):
        snapshot("a/b/c", revision=None, download=False)
    with pytest.raises(LayoutError, match=r"someone/other: could not be had from the hub \(.*look at its name"):
        snapshot("someone/other", revision=None, download=True)


@pytest.mark.parametrize("write", [miniature.write_disk, miniature.write_files])
def test_splits_are_found_by_their_names_and_others_are_told(tmp_path, write):
    write(tmp_path / "drawn")
    found = opened(tmp_path / "drawn", WANTED, configuration=None)
    assert {split: len(rows) for split, rows in found.items()} == {"train": 4, "val": 2}
    with pytest.raises(LayoutError, match=r'drawn: .*(no split |Unknown split "?)tset'):
        opened(tmp_path / "drawn", {"test": "tset"}, configuration=None)


def test_a_folder_that_is_missing_or_empty_or_cut_short_is_told(tmp_path):
    with pytest.raises(LayoutError, match="nowhere: there is no such folder"):
        opened(tmp_path / "nowhere", WANTED, configuration=None)
    (tmp_path / "empty").mkdir()
    with pytest.raises(LayoutError, match="empty: cannot be opened"):
        opened(tmp_path / "empty", WANTED, configuration=None)
    miniature.write_disk(tmp_path / "drawn")
    (tmp_path / "drawn" / "train" / "state.json").unlink()
    with pytest.raises(LayoutError, match="drawn: cannot be opened"):
        opened(tmp_path / "drawn", WANTED, configuration=None)


def test_a_copy_that_lacks_files_is_not_taken_for_whole(tmp_path):
    miniature.write_files(tmp_path / "drawn")
    card = tmp_path / "drawn" / "README.md"
    card.write_text(card.read_text().replace("num_examples: 4", "num_examples: 9"))
    with pytest.raises(LayoutError, match=r"drawn: cannot be opened .*train"):
        opened(tmp_path / "drawn", WANTED, configuration=None)


def test_a_card_that_names_files_elsewhere_is_refused(tmp_path):
    miniature.write_files(tmp_path / "drawn")
    card = tmp_path / "drawn" / "README.md"
    configs = "configs:\n- config_name: default\n  data_files: https://example.org/train.parquet\n"
    card.write_text(card.read_text().replace("---\n", f"---\n{configs}", 1))
    with pytest.raises(LayoutError, match=r"README\.md: names files of another machine"):
        opened(tmp_path / "drawn", WANTED, configuration=None)


@pytest.mark.parametrize("content", ['{"splits": null}', "[]", "{", "null"])
def test_a_description_of_splits_that_is_none_is_told(tmp_path, content):
    miniature.write_disk(tmp_path / "drawn")
    (tmp_path / "drawn" / "dataset_dict.json").write_text(content)
    with pytest.raises(LayoutError, match=r"drawn: cannot be opened .*write it again with save_to_disk"):
        opened(tmp_path / "drawn", WANTED, configuration=None)
