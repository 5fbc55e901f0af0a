"""A network that starts from the weights of a trained segmenter, of other classes perhaps."""

from pathlib import Path

import torch

from inverseform import weights
from inverseform.networks import FORMAT, Card, Segmenter, read_card
from inverseform.settings import InputError


def transfer(network: Segmenter, folder: str | Path, *, num_classes: int) -> Card:
    """Fill a network with the weights of a segmenter's folder, but for what has a channel for each class.

    Those layers, where the numbers of classes differ, stay as they are; where they are equal all is taken, though the
    classes may be others. Everything else must fit, name by name.

    Args:
        network: Changed in place; of the same kind as the one in the folder.
        folder: What train_segmentation wrote.
        num_classes: Of the network.

    Returns:
        What the folder's network knows of itself: images must be normalised as its were.

    Raises:
        FileNotFoundError: There is no such folder.
        InputError: It holds something else, or a network of another kind.
    """
    tensors, settings = weights.load(folder, format=FORMAT)
    card, own = read_card(settings, folder), network.state_dict()
    for name in sorted(own.keys() ^ tensors.keys()):
        lacking, has = ("it", "the network of the settings") if name in own else ("the network of the settings", "it")
        raise InputError(
            f"{folder}: {lacking} has no {name}, and {has} has: it is another network ({card.network.name}); give "
            f"train_segmentation.network the settings it was trained with, or set train_segmentation.init to null"
        )
    taken = {}
    for name, tensor in tensors.items():
        if tensor.shape == own[name].shape:
            taken[name] = tensor
        elif not _differ_by_classes(tensor, own[name], (len(card.classes), num_classes)):
            raise InputError(
                f"{folder}: its {name} is {tuple(tensor.shape)} and {tuple(own[name].shape)} is needed: it is another "
                f"network; give train_segmentation.network the settings it was trained with"
            )
    network.load_state_dict({**own, **taken})
    return card


def _differ_by_classes(theirs: torch.Tensor, ours: torch.Tensor, numbers: tuple[int, int]) -> bool:
    """Whether two shapes are alike but for one side, which is the number of classes in both."""
    if theirs.dim() != ours.dim():
        return False
    return [pair for pair in zip(theirs.shape, ours.shape, strict=True) if pair[0] != pair[1]] == [numbers]
