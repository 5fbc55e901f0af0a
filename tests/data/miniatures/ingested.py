"""A data set on disk through ingest into a store, and what must hold there whatever the data set."""

import numpy as np

from components.ingest import IngestParams, ingest
from inverseform.boundary import BoundaryParams
from inverseform.data.sample_store import SampleStore


def ingested(data, raw, folder, *, operator="inequality"):
    """The store of a data set, made by the stage."""
    boundary = BoundaryParams(operator=operator, radius=1)
    ingest(
        IngestParams(data=data, boundary=boundary, workers=2, shard_mib=1),
        raw=raw,
        samples=folder,
        checkpoints=folder.with_name(f"{folder.name}-checkpoints"),
    )
    return SampleStore.open(folder)


def check(store, labels):
    """Labels are those that were drawn, and boundaries lie between known classes alone.

    Args:
        store: What was ingested.
        labels: By split and name, with 255 where the class is unknown.
    """
    for split, drawn in labels.items():
        assert store.names(split) == list(drawn)
        for index, expected in enumerate(drawn.values()):
            sample = store.sample(split, index)
            assert (sample.labels.numpy() == expected).all()
            assert (sample.boundary[0].numpy() == boundary_twin(expected)).all()


def boundary_twin(labels):
    """1 where one of the eight neighbours is known and of another class; slow and plain."""
    height, width = labels.shape
    found = np.zeros(labels.shape)
    for row, column in np.argwhere(labels != 255):
        window = labels[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
        found[row, column] = ((window != 255) & (window != labels[row, column])).any()
    assert found.shape == (height, width)
    return found


def blocks(random, ids, rows=4, columns=6, side=6):
    """Squares of random ids, each of which occurs if there are enough of them."""
    some = random.choice(ids, rows * columns)
    some[: len(ids)] = ids[: rows * columns]
    return np.kron(random.permutation(some).reshape(rows, columns), np.ones((side, side), int))
