import torch

from inverseform.sample import IGNORE_INDEX, Prediction, Sample
from tests.drawn import sample_store


def test_the_label_of_unknown_pixels_fits_the_type_of_labels_and_is_no_class_of_a_picture():
    assert IGNORE_INDEX == torch.iinfo(torch.uint8).max


def test_a_stored_sample_has_the_fields_and_types_it_promises(tmp_path):
    sample = sample_store(tmp_path / "samples", train=1, val=1).sample("train", 0)
    assert isinstance(sample, Sample)
    assert Sample._fields == ("name", "image", "labels", "boundary", "valid", "prediction", "targets")
    assert sample.prediction is None
    assert sample.image.dtype == sample.labels.dtype == torch.uint8
    assert sample.boundary.dtype == sample.valid.dtype == torch.float32
    assert sample.image.shape[1:] == sample.labels.shape == sample.boundary.shape[1:] == sample.valid.shape[1:]


def test_a_prediction_without_a_boundary_is_one():
    prediction = Prediction(torch.zeros(1, 2, 3, 4), None)
    assert prediction.boundary is None and prediction.segmentation.shape == (1, 2, 3, 4)
    assert prediction.auxiliary == prediction.boundary_at_scales == ()
