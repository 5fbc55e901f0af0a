import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from inverseform.data.shards import ShardFormat, ShardWriter, open_shard, shard_path, shards
from inverseform.settings import InputError

FORMAT = ShardFormat("pairs", 3, "synthesize")
SCHEMA = pa.schema([pa.field("tile", pa.binary(16), nullable=False), pa.field("index", pa.int64(), nullable=False)])
SETTINGS = {"tile": 64, "range": (1, 2)}


def table(start: int, rows: int = 10) -> pa.Table:
    numbers = list(range(start, start + rows))
    return pa.table({"tile": [n.to_bytes(16, "big") for n in numbers], "index": numbers}, schema=SCHEMA)


def write(folder, *, count=5, shard_bytes=1 << 20, first=0):
    folder.mkdir(exist_ok=True)
    keywords = {"format": FORMAT, "settings": SETTINGS, "shard_bytes": shard_bytes, "first": first}
    with ShardWriter(folder, "train", SCHEMA, **keywords) as writer:
        for number in range(count):
            writer.write(table(10 * number))
    return shards(folder, "train")


def test_what_is_written_is_read_one_table_a_row_group(tmp_path):
    (path,) = write(tmp_path)
    shard = open_shard(path, format=FORMAT, settings=SETTINGS)
    assert shard.groups == [10] * 5
    assert shard.settings == {"tile": 64, "range": [1, 2]}
    assert shard.read(3).equals(table(30))
    assert shard.read(3, columns=["index"]).column_names == ["index"]


def test_a_shard_ends_when_it_is_full_and_the_next_goes_on(tmp_path):
    paths = write(tmp_path, shard_bytes=300)
    assert [path.name for path in paths] == [f"train-{n:05d}.parquet" for n in range(len(paths))]
    assert len(paths) > 1
    assert all(path.stat().st_size >= 300 for path in paths[:-1])
    opened = [open_shard(path, format=FORMAT) for path in paths]
    tables = [shard.read(group) for shard in opened for group in range(len(shard.groups))]
    assert pa.concat_tables(tables).equals(pa.concat_tables([table(10 * n) for n in range(5)]))


def test_the_same_tables_give_the_same_bytes(tmp_path):
    for one, other in zip(write(tmp_path / "a"), write(tmp_path / "b"), strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_shards_are_counted_from_where_one_says(tmp_path):
    assert write(tmp_path, first=7) == [shard_path(tmp_path, "train", 7)]


def test_nothing_written_leaves_no_shard(tmp_path):
    assert write(tmp_path, count=0) == []


def test_an_error_leaves_no_half_shard(tmp_path):
    with (
        pytest.raises(KeyError),
        ShardWriter(tmp_path, "train", SCHEMA, format=FORMAT, settings={}, shard_bytes=1 << 20) as writer,
    ):
        writer.write(table(0))
        raise KeyError("tile")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("rows", [10, 100_000])
def test_a_full_disk_is_told_with_the_name_of_the_file(tmp_path, rows):
    path = shard_path(tmp_path, "train", 0)
    path.symlink_to("/dev/full")
    with (
        pytest.raises(OSError, match="No space left on device") as caught,
        ShardWriter(tmp_path, "train", SCHEMA, format=FORMAT, settings={}, shard_bytes=1 << 30) as writer,
    ):
        writer.write(table(0, rows))
    assert caught.value.errno == 28
    assert caught.value.filename == str(path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kept", [0, 3, 100, -1, -9])
def test_a_shard_cut_short_is_refused_with_what_to_type(tmp_path, kept):
    (path,) = write(tmp_path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match=rf"{path}: is cut short or not Parquet; delete .* run `dvc repro synthesize`"):
        open_shard(path, format=FORMAT)


def test_a_damaged_row_group_is_refused_when_it_is_read(tmp_path):
    (path,) = write(tmp_path)
    data = bytearray(path.read_bytes())
    place = open_shard(path, format=FORMAT).file.metadata.row_group(2).column(0)
    data[place.data_page_offset + place.total_compressed_size - 3] ^= 255
    path.write_bytes(data)
    shard = open_shard(path, format=FORMAT)
    assert shard.read(1).equals(table(10))
    with pytest.raises(InputError, match=r"is damaged in row group 2 .*run `dvc repro synthesize`"):
        shard.read(2)


def test_parquet_from_elsewhere_is_refused(tmp_path):
    path = tmp_path / "train-00000.parquet"
    pq.write_table(table(0), path)
    with pytest.raises(InputError, match="is Parquet, but not pairs of inverseform"):
        open_shard(path, format=FORMAT)


def test_another_format_version_or_setting_is_refused(tmp_path):
    (path,) = write(tmp_path)
    with pytest.raises(InputError, match="holds pairs of version 3 and pairs of version 4 was expected"):
        open_shard(path, format=FORMAT._replace(version=4))
    with pytest.raises(InputError, match="holds pairs of version 3 and samples of version 3 was expected"):
        open_shard(path, format=FORMAT._replace(name="samples"))
    with pytest.raises(InputError, match="was made with tile 64 and 32 was expected"):
        open_shard(path, format=FORMAT, settings={"tile": 32})


def test_a_missing_shard_is_not_found(tmp_path):
    with pytest.raises(FileNotFoundError, match="dvc repro synthesize"):
        open_shard(tmp_path / "train-00000.parquet", format=FORMAT)
