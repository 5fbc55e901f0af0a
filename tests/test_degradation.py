import pytest
import torch
import torch.nn.functional as F

from inverseform.boundary import boundaries
from inverseform.degradation import CHUNK, DEGRADATIONS, DegradationParams, degrade
from inverseform.pairs import crop

COUNT, TILE = 60, 64
STRENGTHS = {"jitter_pixels": 2.0, "thick_radius": 3, "blur_sigma": 2.0, "clutter": 0.6, "noise": 0.2}
NONE = {**dict.fromkeys(DEGRADATIONS, 0.0), **STRENGTHS}
SEEDS = torch.arange(COUNT) * 7919


def hard_tiles(count=COUNT, tile=TILE):
    """Of the boundaries of discs of many sizes."""
    place = torch.arange(192)
    distance = ((place[None] - 90) ** 2 + (place[:, None] - 100) ** 2).sqrt()
    boundary = boundaries((distance / 17).long()[None], num_classes=9)[0][0]
    return crop(boundary, torch.randint(0, 192 - tile, (count, 2), generator=torch.Generator().manual_seed(0)), tile)


def degraded(tiles, **changes):
    return degrade(tiles, torch.arange(len(tiles)) * 7919, DegradationParams(**{**NONE, **changes}))


def mass(tiles):
    return tiles[:, 8:-8, 8:-8].sum()


def grown(tiles, radius):
    return F.max_pool2d(tiles[:, None], 2 * radius + 1, 1, radius)[:, 0]


def test_a_degraded_tile_depends_on_its_seed_alone():
    params = DegradationParams(**{**NONE, **dict.fromkeys(DEGRADATIONS, 0.5)})
    tiles = hard_tiles()
    together = degrade(tiles, SEEDS, params)
    # More than are worked on at a time, in another order, and one alone.
    assert COUNT > CHUNK
    for some in (torch.arange(COUNT).flip(0), torch.tensor([3, 57, 30]), torch.tensor([41])):
        assert torch.allclose(degrade(tiles[some], SEEDS[some], params), together[some], atol=1e-5)
    assert not torch.allclose(degrade(tiles, SEEDS + 1, params), together, atol=0.1)


def test_on_a_device_that_cannot_choose_it_does_the_same(monkeypatch):
    from inverseform import degradation

    params = DegradationParams(**{**NONE, **dict.fromkeys(DEGRADATIONS, 0.5)})
    chosen = degrade(hard_tiles(), SEEDS, params)

    def all_of_them(change, tiles, chosen, amount, params):
        return torch.where(chosen[:, None, None], change(tiles, amount, params), tiles)

    # What a GPU does, done here: every degradation of every tile.
    monkeypatch.setattr(degradation, "_some", all_of_them)
    assert torch.allclose(degrade(hard_tiles(), SEEDS, params), chosen, atol=1e-5)


def test_nothing_is_done_at_probability_zero():
    tiles = hard_tiles()
    before = tiles.clone()
    assert torch.equal(degraded(tiles), tiles)
    degraded(tiles, **dict.fromkeys(DEGRADATIONS, 1.0))
    assert torch.equal(tiles, before)


@pytest.mark.parametrize("tile", [16, 64, 100])
def test_all_together_stay_between_0_and_1_at_any_tile(tile):
    tiles = hard_tiles(tile=tile)
    result = degraded(tiles, **dict.fromkeys(DEGRADATIONS, 0.6))
    assert 0 <= result.min() and result.max() <= 1 and result.isfinite().all() and result.shape == tiles.shape


def added(before, after):
    more = (after - before).mean((1, 2))
    return (after >= before).all() and (more > 0).float().mean() > 0.8 and more.mean() < before.mean()


def thin(before, after):
    # Each line keeps a pixel: it is found again within a pixel.
    return (
        (after <= before).all()
        and after.sum() < 0.6 * before.sum()
        and (grown(after, 1) >= before)[:, 2:-2, 2:-2].all()
    )


def jittered(before, after):
    return (
        (after <= grown(before, 2)).all() and (before <= grown(after, 3))[:, 8:-8, 8:-8].float().mean() > 0.999
        and abs(mass(after) / mass(before) - 1) < 0.05 and (after != before).any((1, 2)).all()
    )  # fmt: skip


def broken(before, after):
    kept = after.sum() / before.sum()
    return (after <= before).all() and 0.6 < kept < 0.8


def missing(before, after):
    return (after <= before).all() and 0.5 * before.sum() < after.sum() < before.sum()


def thick(before, after):
    return (after >= grown(before, 1)).all() and (after <= grown(before, 3)).all() and (after > grown(before, 1)).any()


def blurred(before, after):
    return after.max() < 1 and abs(mass(after) / mass(before) - 1) < 0.05


def cluttered(before, after):
    beside = after[before == 0]
    return (after >= before).all() and beside.max() <= 0.6 and 0.1 < (beside > 0.1).float().mean() < 0.8


def noisy(before, after):
    return 0.01 < (after - before).abs().mean() and (after - before).abs().max() <= 0.2


def soft(before, after):
    off, on = after[before == 0], after[before == 1]
    return 0.004 < off.min() and off.max() <= 0.3 and 0.6 <= on.min() and off.std() > 0.05 and on.std() > 0.01


def faint(before, after):
    return torch.equal(after > 0, before > 0) and 0.3 <= after[before > 0].min() and after.sum() < 0.9 * before.sum()


LAWS = (added, thin, jittered, broken, missing, thick, blurred, cluttered, noisy, soft, faint)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_each_degradation_does_what_its_name_says(law):
    tiles = hard_tiles()
    assert law(tiles, degraded(tiles, **{law.__name__: 1.0}))


def test_every_degradation_has_its_law_and_its_probability():
    assert [law.__name__ for law in LAWS] == list(DEGRADATIONS)
    assert set(DegradationParams.model_fields) == {*DEGRADATIONS, *STRENGTHS}


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_degradations_come_as_often_as_they_are_asked_for(name):
    tiles = hard_tiles().repeat(20, 1, 1)[:, 20:44, 20:44]
    tiles = tiles[tiles.mean((1, 2)) > 0.1]
    always = (degraded(tiles, **{name: 1.0}) != tiles).any(-1).any(-1).float().mean()
    some = (degraded(tiles, **{name: 0.3}) != tiles).any(-1).any(-1).float().mean()
    assert abs(some - 0.3 * always) < 0.05


def test_one_degradation_that_is_switched_off_changes_no_other():
    tiles = hard_tiles()
    alone = degraded(tiles, faint=0.5) != tiles
    with_another = degraded(tiles, faint=0.5, missing=0.5) != tiles
    assert (with_another | ~alone).all()


def test_thin_and_jittered_lines_are_moved_to_no_side_on_average():
    tiles = torch.zeros(400, 32, 32)
    tiles[:, :, 15:17] = 1
    place = torch.arange(32.0) - 15.5
    for name, width in (("thin", 0.5), ("jittered", 2.0)):
        result = degraded(tiles, **{name: 1.0})
        moved = (result * place).sum((1, 2)) / result.sum((1, 2))
        assert moved.std() > 0.05 and moved.abs().max() <= width and abs(moved.mean()) < 4 * moved.std() / 20


def test_a_blurred_line_does_not_fade_at_the_edge_of_its_tile():
    tiles = torch.zeros(40, 32, 32)
    tiles[:, 15:17] = 1
    result = degraded(tiles, blurred=1.0)
    assert torch.allclose(result, result[:, :, 16:17].expand_as(result), atol=1e-5)
