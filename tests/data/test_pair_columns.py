import pyarrow as pa
import pytest
import torch

from inverseform.data.pair_columns import Origin, Packed, Pairs, as_table, join, schema, thetas


def drawn(count, tile=8, first=0):
    """Pairs of noise, each with a seed that names it."""
    generator = torch.Generator().manual_seed(first)
    tiles = torch.rand(2, count, tile, tile, generator=generator) < 0.2
    theta = torch.randn(count, 3, 3, generator=generator)
    return Pairs(tiles[0], tiles[1], theta, torch.arange(first, first + count))


def soft(count, tile=8, first=0):
    """Pairs of which two in three have a prediction that names them."""
    pairs = drawn(count, tile=tile, first=first)
    there = pairs.seed % 3 > 0
    prediction = (pairs.seed % 251).to(torch.uint8)[:, None, None] + torch.arange(tile * tile).view(tile, tile)
    return pairs._replace(prediction=(prediction * there[:, None, None]).to(torch.uint8), soft=there)


def table(pairs):
    places = torch.stack([pairs.seed, pairs.seed * 2], dim=1)
    return as_table(pairs, Origin([f"image {seed}" for seed in pairs.seed.tolist()], places))


def rows(pairs, some):
    return Pairs(*(None if field is None else field[some] for field in pairs))


def same(one, other):
    return all(a is b if a is None else torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("tile", [4, 5, 13, 64])
@pytest.mark.parametrize("kind", [drawn, soft])
def test_pairs_of_any_side_come_back(kind, tile):
    pairs = kind(7, tile=tile)
    assert same(Packed.read(table(pairs)).unpack(tile), pairs)
    assert torch.equal(thetas(table(pairs)), pairs.theta)


def test_tiles_take_a_bit_a_pixel_and_a_prediction_a_byte():
    hard, predicted = (schema(13, predictions=flag) for flag in (False, True))
    assert hard.field("tile").type.byte_width == hard.field("warped").type.byte_width == 22
    assert predicted.field("prediction").type.byte_width == 169 and "prediction" not in hard.names
    assert table(drawn(3, tile=13)).schema == hard and table(soft(3, tile=13)).schema == predicted


def test_where_a_pair_was_cut_is_kept_with_it():
    some = table(drawn(5, first=3)).to_pylist()
    assert [(row["source"], row["row"], row["column"]) for row in some] == [
        (f"image {seed}", seed, 2 * seed) for seed in range(3, 8)
    ]


def test_a_prediction_that_is_not_there_is_null():
    pairs = soft(9)
    assert [value is not None for value in table(pairs)["prediction"].to_pylist()] == pairs.soft.tolist()


@pytest.mark.parametrize("kind", [drawn, soft])
def test_a_slice_and_a_table_of_several_pieces_are_read_as_one(kind):
    pairs = kind(20)
    whole = pa.concat_tables([table(rows(pairs, slice(0, 6))), table(rows(pairs, slice(6, 20)))])
    assert same(Packed.read(whole).unpack(8), pairs)
    for some in (whole, table(pairs)):
        assert same(Packed.read(some.slice(4, 11)).unpack(8), rows(pairs, slice(4, 15)))


@pytest.mark.parametrize("kind", [drawn, soft])
def test_parts_that_are_mixed_are_the_rows_in_that_order(kind):
    parts = [kind(count, first=first) for count, first in ((6, 0), (1, 6), (13, 7))]
    order = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    mixed = Packed.mixed((Packed.read(table(part)) for part in parts), order, tile=8)
    assert same(mixed.unpack(8), rows(join(parts), order))
    assert same(mixed.rows(5, 12).unpack(8), rows(join(parts), order[5:12]))


def test_only_the_predictions_that_there_are_are_held():
    pairs = soft(30)
    packed = Packed.read(table(pairs))
    assert len(packed.prediction) == int(pairs.soft.sum()) == 20
    # Also of a part without any.
    none = pairs._replace(prediction=torch.zeros_like(pairs.prediction), soft=torch.zeros_like(pairs.soft))
    both = Packed.mixed([packed, Packed.read(table(none))], torch.arange(60), tile=8)
    assert len(both.prediction) == 20 and same(both.unpack(8), join([pairs, none]))


def test_what_was_read_is_not_bound_to_the_table():
    pairs = soft(5)
    stored = table(pairs)
    packed = Packed.read(stored)
    for field in (packed.tile, packed.warped, packed.theta, packed.seed, packed.prediction):
        field.zero_()
    assert same(Packed.read(stored).unpack(8), pairs)
