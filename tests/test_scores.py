import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from inverseform.scores import PLAIN, InferenceParams, class_scores

WEIGHTS = torch.randn(5, 3, 3, 3, generator=torch.Generator().manual_seed(0)) / 2


def network(images):
    """A 3 x 3 convolution without any symmetry: it knows left from right and an edge from the middle."""
    return F.conv2d(images, WEIGHTS, padding=1)


def numpy_network(images):
    return network(torch.from_numpy(np.ascontiguousarray(images))).numpy()


def twin(logits_of, images, inference):
    """The definition, in torch's own words: windows on a padded canvas, counted; views as probabilities."""
    size, seen = images.shape[-2:], []
    for scale, flip in itertools.product(inference.scales, (False, True) if inference.flip else (False,)):
        scaled = tuple(max(1, int(side * scale + 0.5)) for side in size)
        view = F.interpolate(images, size=scaled, mode="bilinear", align_corners=False)
        view = view.flip(-1) if flip else view
        window = inference.window or scaled
        view = F.pad(view, (0, max(0, window[1] - scaled[1]), 0, max(0, window[0] - scaled[0])))
        total, count = 0, torch.zeros(view.shape[-2:])
        places = []
        for side, span in zip(view.shape[-2:], window, strict=True):
            step = max(1, span - round(span * inference.overlap))
            places.append(sorted({min(begin, side - span) for begin in range(0, side + step, step)}))
        for top, left in itertools.product(*places):
            bottom, right = top + window[0], left + window[1]
            beside = (left, view.shape[-1] - right, top, view.shape[-2] - bottom)
            total = total + F.pad(logits_of(view[..., top:bottom, left:right]), beside)
            count[top:bottom, left:right] += 1
        logits = (total / count)[..., : scaled[0], : scaled[1]]
        logits = F.interpolate(logits.flip(-1) if flip else logits, size=size, mode="bilinear", align_corners=False)
        seen.append(logits)
    return seen[0] if len(seen) == 1 else torch.stack([logits.softmax(1) for logits in seen]).mean(0)


sides = st.integers(1, 25)
ways = st.fixed_dictionaries(
    {
        "window": st.none() | st.tuples(st.integers(3, 20), st.integers(3, 20)),
        "overlap": st.sampled_from([0.0, 0.2, 1 / 3, 0.5]),
        "flip": st.booleans(),
        "scales": st.lists(st.sampled_from([0.3, 0.5, 0.75, 1.0, 1.25, 2.0]), min_size=1, max_size=3, unique=True).map(
            tuple
        ),
    }
)


@settings(deadline=None, max_examples=50)
@given(size=st.tuples(sides, sides), way=ways)
def test_scores_are_those_of_the_definition_in_numpy_and_in_torch(size, way):
    inference = InferenceParams(**way)
    images = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1))
    expected = twin(network, images, inference)
    by_torch = class_scores(network, images, inference=inference)
    by_numpy = class_scores(numpy_network, images.numpy(), inference=inference)
    assert by_torch.shape == by_numpy.shape == (1, 5, *size)
    assert isinstance(by_numpy, np.ndarray) and by_numpy.dtype == np.float32
    assert (by_torch - expected).abs().max() < 1e-5
    assert np.abs(by_numpy - expected.numpy()).max() < 1e-5


@pytest.mark.parametrize("run", [torch.from_numpy, np.asarray], ids=["torch", "numpy"])
def test_the_plain_way_is_the_network_itself_once(run):
    calls = []

    def recorded(images):
        calls.append(images)
        return run(np.ones((1, 2, 6, 7), np.float32))

    images = run(np.zeros((1, 3, 6, 7), np.float32))
    given_back = class_scores(recorded, images, inference=PLAIN)
    assert len(calls) == 1 and calls[0] is images
    assert np.array_equal(given_back, np.ones((1, 2, 6, 7)))


def test_the_plain_way_copies_no_logits():
    logits = np.ones((1, 2, 6, 7), np.float32)
    assert class_scores(lambda _: logits, np.zeros((1, 3, 6, 7), np.float32), inference=PLAIN) is logits
    logits = torch.ones(1, 2, 6, 7)
    found = class_scores(lambda _: logits, torch.zeros(1, 3, 6, 7), inference=PLAIN)
    assert found.data_ptr() == logits.data_ptr()


def test_a_flip_makes_scores_that_are_mirrored_with_the_image():
    images = torch.randn(1, 3, 12, 17, generator=torch.Generator().manual_seed(2))
    both = PLAIN.model_copy(update={"flip": True, "scales": (1.0, 1.5)})
    there, back = class_scores(network, images, inference=both), class_scores(network, images.flip(-1), inference=both)
    assert (there - back.flip(-1)).abs().max() < 1e-6
    assert (network(images) - network(images.flip(-1)).flip(-1)).abs().max() > 0.1


def test_several_views_give_probabilities():
    images = torch.randn(1, 3, 12, 17, generator=torch.Generator().manual_seed(3))
    found = class_scores(network, images, inference=PLAIN.model_copy(update={"scales": (0.5, 1.0, 2.0)}))
    assert (found.sum(1) - 1).abs().max() < 1e-6 and found.min() >= 0


def test_a_view_that_is_sure_outvotes_none():
    # As logits 0 and -100 the middle view would decide alone: the others lean to the first class by a little.
    votes = iter([[0.5, 0.0], [-100.0, 0.0], [0.5, 0.0]])
    sure = class_scores(
        lambda images: torch.tensor(next(votes))[None, :, None, None].expand(1, 2, *images.shape[2:]),
        torch.zeros(1, 3, 4, 4), inference=PLAIN.model_copy(update={"scales": (0.5, 1.0, 2.0)}),
    )  # fmt: skip
    first = 2 / (1 + np.exp(-0.5)) / 3
    assert sure[0, 0].numpy() == pytest.approx(first, abs=1e-6)


def test_sizes_are_rounded_and_no_side_is_lost():
    sizes = []

    def recorded(images):
        sizes.append(tuple(images.shape[2:]))
        return images

    class_scores(
        recorded, torch.zeros(1, 3, 5, 1), inference=PLAIN.model_copy(update={"scales": (0.25, 0.5, 1.5, 1.3)})
    )
    assert sizes == [(1, 1), (3, 1), (8, 2), (7, 1)]


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ({"window": (0, 4)}, "window"), ({"window": (4, -1)}, "window"), ({"window": (4, 4.5)}, "window"),
        ({"window": (4,)}, "window"), ({"overlap": 1.0}, "overlap"), ({"overlap": -0.1}, "overlap"),
        ({"overlap": float("nan")}, "overlap"), ({"flip": 1}, "flip"), ({"scales": ()}, "scales"),
        ({"scales": (1.0, 0.0)}, "scales"), ({"scales": (-1.0,)}, "scales"), ({"scales": (float("nan"),)}, "scales"),
        ({"scales": (75.0,)}, "scales"), ({"scales": (1.0, 0.5, 1.0)}, "scales"),
    ],
)  # fmt: skip
def test_settings_out_of_range_are_refused(wrong, place):
    with pytest.raises(ValidationError) as caught:
        InferenceParams(**{**PLAIN.model_dump(), **wrong})
    assert {error["loc"][0] for error in caught.value.errors()} == {place}


def test_there_are_no_defaults_that_a_file_would_not_show():
    assert all(field.is_required() for field in InferenceParams.model_fields.values())
