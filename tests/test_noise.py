import pytest
import torch

from inverseform.noise import bank, displacement, uniform, window

CPU = torch.device("cpu")


def test_uniform_numbers_are_uniform_and_belong_to_their_seed():
    seeds = torch.arange(2000)
    numbers = uniform(seeds, 1, 50)
    assert 0 <= numbers.min() and numbers.max() < 1
    histogram = torch.histc(numbers, 10, 0, 1) / numbers.numel()
    assert (histogram - 0.1).abs().max() < 0.005
    assert torch.corrcoef(numbers.T).fill_diagonal_(0).abs().max() < 0.12
    assert torch.equal(uniform(seeds[7:9], 1, 50), numbers[7:9])
    assert not torch.equal(uniform(seeds, 2, 50), numbers)


def test_the_bank_is_always_the_same_and_its_noise_is_uniform():
    textures = bank(32, CPU)
    bank.cache_clear()
    assert all(torch.equal(*pair) for pair in zip(textures, bank(32, CPU), strict=True))
    for noise in (textures.white, textures.smooth, textures.streaks, textures.regions):
        histogram = torch.histc(noise, 10, 0, 1) / noise.numel()
        assert 0 <= noise.min() and noise.max() < 1 and (histogram - 0.1).abs().max() < 0.01


def test_neighbours_are_alike_in_smooth_noise_alone():
    textures = bank(64, CPU)
    white, smooth = (
        torch.corrcoef(torch.stack([noise[:, 1:].flatten(), noise[:, :-1].flatten()]))[0, 1]
        for noise in (textures.white, textures.smooth)
    )
    assert abs(white) < 0.02 and smooth > 0.95


@pytest.mark.parametrize("tile", [16, 64, 128])
def test_there_are_some_lines_in_a_tile_and_they_are_two_pixels_wide(tile):
    lines = bank(tile, CPU).lines
    assert set(lines.unique().tolist()) == {0.0, 1.0}
    # Some 3 of 0.375 sides each, 2 to 3 pixels wide.
    assert 1.5 < lines.mean() * tile < 4
    # A pixel of a line belongs to a 2x2 square of it; the texture goes round.
    squares = torch.minimum(lines, lines.roll(-1, 0))
    squares = torch.minimum(squares, squares.roll(-1, 1))
    whole = torch.maximum(squares, squares.roll(1, 0))
    assert torch.equal(torch.maximum(whole, whole.roll(1, 1)), lines)


def test_windows_lie_in_the_texture_and_are_where_they_are_asked_for():
    texture = torch.arange(100.0).view(10, 10)
    read = window(texture, torch.tensor([[0.0, 0.0], [0.999, 0.999], [0.5, 0.0]]), 4)
    assert torch.equal(read[0], texture[:4, :4]) and torch.equal(read[1], texture[6:, 6:])
    assert torch.equal(read[2], texture[3:7, :4])


@pytest.mark.parametrize("side", [8, 32, 64, 128])
def test_a_displacement_has_no_mean_and_no_linear_part_and_keeps_its_bound(side):
    place, largest = uniform(torch.arange(60), 1, 4), 0.5 + 3 * uniform(torch.arange(60), 2, 1)[:, 0]
    field = displacement(place, largest, side)
    bound = largest[:, None]
    assert (field.abs().amax((-2, -1)) <= bound + 1e-5).all()
    assert (field.abs().amax((-2, -1)) > 0.5 * bound).all()
    line = torch.linspace(-1, 1, side)
    for part in (torch.ones(side, side), line.expand(side, side), line[:, None].expand(side, side)):
        assert ((field * part).mean((-2, -1)) / bound).abs().max() < 1e-4


def test_a_displacement_is_smooth():
    field = displacement(uniform(torch.arange(40), 1, 4), torch.full((40,), 3.0), 128)
    for dim in (-1, -2):
        assert field.diff(dim=dim).abs().max() < 1
