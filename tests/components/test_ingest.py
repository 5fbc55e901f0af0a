import dataclasses
import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from components import ingest as room
from components import sample_shards, shard_receipts, stage
from components.ingest import IngestParams, ingest, make_shards, shard, verify
from inverseform.boundary import BoundaryParams, boundaries
from inverseform.data import open_dataset
from inverseform.data.dataset import Dataset, Reading, encode_png
from inverseform.data.folder import FolderParams
from inverseform.data.procedural import ProceduralParams
from inverseform.data.sample_store import SampleStore
from inverseform.settings import InputError
from tests.drawn import ROOT

SETTINGS = {
    "data": {
        "name": "folder",
        "classes": ["sky", "road", "car"],
        "colours": [[0, 0, 255], [128, 64, 128], [200, 0, 0]],
        "ignore_index": 11,
        "label_format": "ids",
    },
    "boundary": {"operator": "sobel", "radius": 2},
    "workers": 2,
    "shard_mib": 1,
}
COUNTS = {"train": 5, "val": 2, "test": 3}


def params(**changes) -> IngestParams:
    data = SETTINGS["data"]
    own = FolderParams(**{**data, "classes": tuple(data["classes"]), "colours": tuple(map(tuple, data["colours"]))})
    boundary = BoundaryParams(operator="sobel", radius=2)
    return IngestParams(**{"data": own, "boundary": boundary, "workers": 2, "shard_mib": 1, **changes})


@pytest.fixture
def raw(tmp_path):
    """A data set drawn in three classes, with some pixels unknown."""
    generator = np.random.default_rng(0)
    for split, count in COUNTS.items():
        for kind in ("images", "labels"):
            (tmp_path / "raw" / split / kind).mkdir(parents=True)
        for index in range(count):
            labels = np.kron(generator.integers(0, 3, (4, 5)), np.ones((12, 12), int)).astype(np.uint8)
            labels[:6, :30] = 11
            photo = (labels[..., None] * 20 + generator.integers(0, 9, (*labels.shape, 3))).astype(np.uint8)
            Image.fromarray(photo).save(tmp_path / "raw" / split / "images" / f"{index:02d}.jpg")
            Image.fromarray(labels).save(tmp_path / "raw" / split / "labels" / f"{index:02d}.png")
    return tmp_path / "raw"


def test_all_samples_arrive_with_the_boundaries_of_their_labels(raw, tmp_path):
    report = ingest(params(), raw=raw, samples=tmp_path / "samples", checkpoints=tmp_path / "c")
    store = SampleStore.open(tmp_path / "samples")
    ignored = boundary_pixels = pixels = 0
    for split, count in COUNTS.items():
        assert store.names(split) == [f"{index:02d}" for index in range(count)]
        for index in range(count):
            sample = store.sample(split, index)
            expected = np.array(Image.open(raw / split / "labels" / f"{index:02d}.png"))
            assert (sample.labels.numpy() == np.where(expected == 11, 255, expected)).all()
            assert (
                sample.image.numpy().transpose(1, 2, 0)
                == np.array(Image.open(raw / split / "images" / f"{index:02d}.jpg"))
            ).all()
            boundary, valid = boundaries(sample.labels[None].int(), num_classes=3, radius=2)
            assert torch.equal(sample.boundary, boundary[0])
            assert torch.equal(sample.valid, valid[0])
            ignored += (expected == 11).sum()
            boundary_pixels += int(boundary.sum())
            pixels += expected.size
    assert report["images"] == 10
    assert {split: report[f"{split}_images"] for split in COUNTS} == COUNTS
    assert report["ignored_share"] == pytest.approx(ignored / pixels)
    assert report["boundary_share"] == pytest.approx(boundary_pixels / pixels)
    assert report["seconds"] > 0


def test_predictions_go_with_their_samples_where_a_split_has_them(raw, tmp_path):
    guesses = {}
    (raw / "val" / "predictions").mkdir()
    for path in (raw / "val" / "labels").iterdir():
        guesses[path.stem] = np.random.default_rng(len(guesses)).integers(0, 256, (48, 60), dtype=np.uint8)
        Image.fromarray(guesses[path.stem]).save(raw / "val" / "predictions" / path.name)
    ingest(params(), raw=raw, samples=tmp_path / "samples", checkpoints=tmp_path / "c")
    store = SampleStore.open(tmp_path / "samples")
    assert store.sample("train", 0).prediction is None
    for index, name in enumerate(store.names("val")):
        prediction = store.sample("val", index).prediction
        assert torch.equal(prediction[0], torch.from_numpy(guesses[name]).float() / 255)


def test_a_drawn_data_set_needs_nothing_raw(tmp_path):
    drawn = ProceduralParams(name="procedural", train=3, val=1, test=1, size=(64, 80), seed=0)
    assert (
        ingest(params(data=drawn), raw=tmp_path, samples=tmp_path / "samples", checkpoints=tmp_path / "c")["images"]
        == 5
    )
    assert SampleStore.open(tmp_path / "samples").names("train") == ["scene-000000", "scene-000001", "scene-000002"]


@pytest.mark.parametrize("workers", [1, 3])
def test_the_same_data_give_the_same_bytes_with_any_number_of_workers(raw, tmp_path, workers):
    ingest(params(), raw=raw, samples=tmp_path / "one", checkpoints=tmp_path / "c")
    ingest(params(workers=workers), raw=raw, samples=tmp_path / "other", checkpoints=tmp_path / "c")
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == ["dataset.json", "test-00000.parquet", "train-00000.parquet", "val-00000.parquet"]
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


@dataclass(frozen=True)
class Noise:
    """A source whose image no compression makes smaller: 48 kB each."""

    name: str

    def read(self) -> Reading:
        image = np.random.default_rng(int(self.name)).integers(0, 256, (128, 128, 3), dtype=np.uint8)
        return Reading(encode_png(image), image, image[..., 0] // 86)


def noise(count: int) -> Dataset:
    sources = [Noise(f"{number:04d}") for number in range(count)]
    return Dataset("noise", ("a", "b", "c"), ((0, 0, 0),) * 3, {"train": sources, "val": sources[:1]})


def test_shards_are_of_the_size_that_is_asked_for_and_nearly_even(tmp_path):
    receipts = make_shards(noise(70), params(), tmp_path / "raw", tmp_path)
    train = [receipt.digest for job, receipt in receipts.items() if job.split == "train"]
    assert [digest.samples for digest in train] == [18, 18, 18, 16]
    assert all(0.8 < digest.bytes / (1 << 20) < 1.3 for digest in train)


def grown(count: int, folder: Path) -> int:
    """By how many bytes the largest memory of a process grows while it makes one shard."""
    (folder / "raw").mkdir(parents=True)
    here, there = multiprocessing.get_context("fork").Pipe(duplex=False)

    def run() -> None:
        make_shards(noise(2), params(workers=1), folder / "raw", folder / "first")
        Path("/proc/self/clear_refs").write_text("5")
        before = high_water()
        make_shards(noise(count), params(workers=1, shard_mib=256), folder / "raw", folder / "then")
        there.send(high_water() - before)

    (folder / "first").mkdir()
    (folder / "then").mkdir()
    child = multiprocessing.get_context("fork").Process(target=run)
    child.start()
    assert here.poll(60)
    child.join()
    assert len(list((folder / "then").glob("train-*.parquet"))) == 1
    return here.recv()


def high_water() -> int:
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def test_memory_does_not_grow_with_the_data_set(tmp_path):
    few, many = grown(60, tmp_path / "few"), grown(600, tmp_path / "many")
    # The pictures of the one shard are 36 MB more than those of the other.
    assert many - few < 6e6


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What a run in one piece writes."""
    folder = tmp_path_factory.mktemp("undisturbed")
    run_stage(folder)
    return files(folder / "samples")


def run_stage(folder: Path, count: int = 70, **changes) -> None:
    """The stage as its command line runs it, on the noise."""
    (folder / "raw").mkdir(exist_ok=True)
    paths = {"raw": folder / "raw", "samples": folder / "samples", "checkpoints": folder / "checkpoints"}
    with patch.object(room, "open_dataset", lambda *_: noise(count)):
        stage.run(ingest, params(**{"workers": 1, **changes}), paths)


def killed(folder: Path, owner: object, name: str, call: int) -> None:
    """Run the stage in a process that is killed just before the n-th call of a function."""

    def run() -> None:
        real, calls = getattr(owner, name), itertools.count(1)

        def deadly(*args, **keywords):
            if next(calls) == call:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **keywords)

        with patch.object(owner, name, deadly):
            run_stage(folder)

    child = multiprocessing.get_context("fork").Process(target=run)
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL


POINTS = {
    "planning": (room, "write_plan", 1, 0),
    "first shard": (sample_shards, "encode", 3, 0),
    "shard before its digest": (sample_shards, "digest_of", 2, 1),
    "shard before its receipt": (shard_receipts, "write_whole", 2, 1),
    "last shard": (sample_shards, "encode", 60, 3),
    "putting together": (room, "put", 3, 5),
    "description": (room, "write_info", 1, 5),
}


@pytest.mark.parametrize("point", POINTS)
def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(tmp_path, point, undisturbed):
    owner, name, call, whole_then = POINTS[point]
    killed(tmp_path, owner, name, call)
    assert not (tmp_path / "samples").exists()
    made = []
    real = room.make
    with patch.object(room, "make", lambda work: (made.append(work.job.name), real(work))[1]):
        run_stage(tmp_path)
    assert len(made) == 5 - whole_then
    assert files(tmp_path / "samples") == undisturbed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw", "samples"]


def test_a_run_killed_with_all_its_processes_at_work_goes_on(tmp_path, undisturbed):
    child = multiprocessing.get_context("fork").Process(target=run_stage, args=(tmp_path,), kwargs={"workers": 2})
    child.start()
    end = time.monotonic() + 30
    while not list(tmp_path.glob("checkpoints/.partial-*/*.parquet")) and time.monotonic() < end:
        time.sleep(0.001)
    child.kill()
    child.join()
    run_stage(tmp_path, workers=2)
    assert files(tmp_path / "samples") == undisturbed


def test_a_damaged_shard_is_made_again(tmp_path, undisturbed):
    killed(tmp_path, room, "write_info", 1)
    [shard] = (tmp_path / "checkpoints").glob("train-00001.parquet")
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    run_stage(tmp_path)
    assert files(tmp_path / "samples") == undisturbed


def test_the_parts_of_several_machines_are_the_whole_to_the_byte(tmp_path, undisturbed):
    (tmp_path / "raw").mkdir()
    with patch.object(room, "open_dataset", lambda *_: noise(70)):
        for number in (2, 0, 1):
            paths = {"raw": tmp_path / "raw", "checkpoints": tmp_path / "checkpoints", "shard": number, "of": 3}
            report = stage.run(shard, params(workers=1 + number % 2), paths)
            assert report["shards"] == (1 if number == 2 else 2)
    with patch.object(room, "make", side_effect=AssertionError("all is there")):
        run_stage(tmp_path)
    assert files(tmp_path / "samples") == undisturbed


@pytest.mark.parametrize(("number", "of"), [(3, 3), (-1, 2), (None, 2), (0, None)])
def test_a_part_that_does_not_exist_is_refused(tmp_path, number, of):
    with pytest.raises(InputError, match=rf"--shard {number} --of {of}: .*write --shard 0 --of 8"):
        shard(params(), raw=tmp_path, checkpoints=tmp_path, shard=number, of=of)


def test_going_on_with_other_settings_is_refused_and_names_them(tmp_path):
    killed(tmp_path, room, "write_info", 1)
    with pytest.raises(
        InputError, match=r"(?s)info\.boundary\.radius: 2 in the checkpoint, 3 now.*rm -r .*checkpoints"
    ):
        run_stage(tmp_path, boundary=BoundaryParams(operator="sobel", radius=3))
    with pytest.raises(InputError, match=r"(?s)info\.counts\.train: 70 in the checkpoint, 71 now.*input train_names"):
        run_stage(tmp_path, count=71)


def test_going_on_with_changed_files_is_refused(raw, tmp_path):
    (tmp_path / "c").mkdir()
    make_shards(open_dataset(params().data, raw), params(), raw, tmp_path / "c")
    label = raw / "val" / "labels" / "01.png"
    os.utime(label, ns=(0, label.stat().st_mtime_ns + 1))
    with pytest.raises(
        InputError, match=rf"input raw: files under {raw} are others than when the run began; see which"
    ):
        make_shards(open_dataset(params().data, raw), params(), raw, tmp_path / "c")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_reader_that_raises_ends_the_run_with_its_error(tmp_path, workers):
    dataset = noise(20)
    broken = dataclasses.replace(dataset, splits={"train": [*dataset.splits["train"], Noise("none")]})
    with pytest.raises(ValueError, match="invalid literal for int"):
        make_shards(broken, params(workers=workers), tmp_path / "raw", tmp_path)
    assert not list(tmp_path.glob("*.parquet")) and not list(tmp_path.glob(".partial-*"))


def test_a_reader_with_a_label_of_no_class_is_told(tmp_path):
    two = dataclasses.replace(noise(3), classes=("a", "b"), colours=((0, 0, 0),) * 2)
    with pytest.raises(InputError, match="has the label 2 and ids go from 0 to 1, or are 255"):
        make_shards(two, params(), tmp_path / "raw", tmp_path)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_is_told_and_what_is_whole_is_kept(tmp_path, workers, undisturbed):
    real = sample_shards.write_samples

    def onto_a_full_disk(folder, *arguments, **keywords):
        (folder / "train-00003.parquet").symlink_to("/dev/full")
        return real(folder, *arguments, **keywords)

    with (
        pytest.raises(OSError, match="No space left on device") as caught,
        patch.object(sample_shards, "write_samples", onto_a_full_disk),
    ):
        run_stage(tmp_path, workers=workers)
    assert caught.value.errno == 28 and caught.value.filename.endswith("train-00003.parquet")
    assert not (tmp_path / "samples").exists()
    assert list(tmp_path.glob("checkpoints/train-0000[012].json"))
    run_stage(tmp_path)
    assert files(tmp_path / "samples") == undisturbed


def test_a_store_is_verified_from_the_command_line(raw, tmp_path, caplog):
    ingest(params(), raw=raw, samples=tmp_path / "samples", checkpoints=tmp_path / "c")
    with caplog.at_level("INFO", logger="inverseform"):
        assert verify(params(), samples=tmp_path / "samples")["images"] == 10
    assert caplog.messages[-1] == f"10 images in {tmp_path / 'samples'} are as they were written"
    before = len(caplog.messages)
    (tmp_path / "samples" / "val-00000.parquet").write_bytes(b"")
    with pytest.raises(InputError, match=r"val-00000\.parquet: has 0 bytes and"):
        verify(params(), samples=tmp_path / "samples")
    assert len(caplog.messages) == before


def test_raw_data_are_read_from_a_url(raw, tmp_path):
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"ingest": SETTINGS}))
    program = f"""
import pathlib, sys
from components import stage
from components.ingest import ingest
from inverseform.location import locate
raw = pathlib.Path({str(raw)!r})
for path in raw.rglob("*"):
    if path.is_file():
        there = locate("memory://raw") / path.relative_to(raw).as_posix()
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_bytes(path.read_bytes())
sys.argv[1:] = ["--params", {str(tmp_path / "params.yaml")!r}, "--raw", "memory://raw",
                "--samples", {str(tmp_path / "far")!r}, "--checkpoints", {str(tmp_path / "c")!r}]
stage.main(ingest)
"""
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    ingest(params(), raw=raw, samples=tmp_path / "near", checkpoints=tmp_path / "c")
    assert files(tmp_path / "far") == files(tmp_path / "near")


def test_a_bad_label_is_refused(raw, tmp_path):
    Image.fromarray(np.full((48, 60), 7, dtype=np.uint8)).save(raw / "test" / "labels" / "01.png")
    with pytest.raises(InputError, match=r"test/labels/01\.png: the value 7 is at row 0, column 0 \(2880 pixels"):
        ingest(params(), raw=raw, samples=tmp_path / "samples", checkpoints=tmp_path / "c")


def test_bad_input_leaves_with_status_two_and_nothing_half_written(raw, tmp_path):
    image = raw / "val" / "images" / "01.jpg"
    image.write_bytes(image.read_bytes()[:400])
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"ingest": SETTINGS}))
    out = tmp_path / "data"
    command = [sys.executable, "-m", "components.ingest", "--params", tmp_path / "params.yaml", "--raw", raw]
    command += ["--samples", out / "samples", "--checkpoints", tmp_path / "checkpoints"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 2, run.stderr
    assert f"error: {image}: cannot be decoded as PNG or JPEG" in run.stderr
    assert "Traceback" not in run.stderr
    assert not list(out.iterdir())
