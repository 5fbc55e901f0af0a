"""A boundary head on a network of one's own, for as long as it is trained: `wrap`, train, `unwrap`."""

import difflib
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from inverseform.networks.heads import HrnetV2Head, resize
from inverseform.networks.segmenter import Segmenter
from inverseform.sample import Auxiliary, Prediction
from inverseform.settings import InputError

LOGITS = ("out", "logits")
"""Under which name a model that gives a dict has its class logits: torchvision's, and that of transformers."""


class Wrapped(Segmenter):
    """A user's network, and a boundary head that reads what one of its modules gives. Made by `wrap`.

    It may be copied, compiled (`torch.compile(wrap(model, ...))`) and put into DistributedDataParallel; not into
    DataParallel, whose replicas share one hook. While it has a boundary head the module must run once in each forward
    pass. Where a layer behind the module works in place, as many a ReLU does, the head sees what that made of it.
    """

    def __init__(
        self, model: nn.Module, boundary_head: HrnetV2Head, *, feature: str, num_classes: int, auxiliary_weight: float
    ) -> None:
        super().__init__(boundary_head, boundary_feedback=False)
        self.model = model
        self.feature = feature
        self.num_classes = num_classes
        self.auxiliary_weight = auxiliary_weight
        # What the module gave in this pass; None between passes, so that no graph is held on to then.
        self._seen: list[Any] | None = None
        # One hook for good, and a bound method: torch.compile follows it, and a copy of the network copies it too.
        self._hook = model.get_submodule(feature).register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, args: Any, output: Any) -> None:  # noqa: ANN401 (whatever the module takes)
        if self._seen is not None:
            self._seen.append(output)

    def forward(self, images: Float[Tensor, "batch inputs height width"]) -> Prediction:
        """Class logits at the size of the images, to which they are enlarged bilinearly; boundary logits or None.

        Raises:
            InputError: The model gives no logits of so many classes, or the module did not run once.
        """
        if self.boundary_head is None:
            return self._prediction(self.model(images), None, images)
        self._seen = []
        try:
            output = self.model(images)
        finally:
            seen, self._seen = self._seen, None
        boundary = self.boundary_head(_feature_map(seen, self.feature))
        return self._prediction(output, boundary, images)

    def _prediction(self, output: Any, boundary: Tensor | None, images: Tensor) -> Prediction:  # noqa: ANN401
        logits = _logits(output, num_classes=self.num_classes)
        if logits.shape[-2:] != images.shape[-2:]:
            logits = resize(logits, images)
        side = output.get("aux") if self.training and isinstance(output, Mapping) else None
        return Prediction(logits, boundary, () if side is None else (Auxiliary(side, self.auxiliary_weight),))

    def unwrap(self) -> nn.Module:
        """The very model that was wrapped, without the hook: its outputs and the names of its weights are its own.

        From then on this network can give no boundaries.
        """
        self._hook.remove()
        return self.model


def wrap(
    model: nn.Module,
    feature: str,
    *,
    num_classes: int,
    example: Float[Tensor, "batch inputs height width"] | None = None,
    auxiliary_weight: float = 0.5,
) -> Wrapped:
    """Put a boundary head on a network of one's own, at the module whose output the head is to read.

    The model runs once, in evaluation mode, to see how many channels that output has.

    Args:
        model: Gives class logits, [batch, classes, rows, columns] at any stride: as a tensor, first in a tuple or list,
            or under "out" or "logits" in a dict.
        feature: Name of the module, as in `model.named_modules()`. Its output must be a map of features, [batch,
            channels, rows, columns]; best the one that the classifier reads, at a stride of 4 or so.
        num_classes: How many classes the logits have.
        example: Images as the model takes them; by default a black one, [1, 3, 64, 64].
        auxiliary_weight: Of the loss of the side output of torchvision's models ("aux"); 0.5 as they were trained.

    Raises:
        InputError: There is no such module, or model and module give something else; the model is then as it was.
    """
    if feature not in (names := [name for name, _ in model.named_modules() if name]):
        close = difflib.get_close_matches(feature, names, n=5, cutoff=0.3)
        raise InputError(
            f"feature is {feature!r}, and the model has no module of that name; "
            f"write one of model.named_modules(), for instance {', '.join(close or names[-5:])}"
        )
    output, features = _trial(model, feature, _black(model) if example is None else example)
    _logits(output, num_classes=num_classes)
    head = HrnetV2Head((features.shape[1],), outputs=1).to(features.device, features.dtype)
    return Wrapped(model, head, feature=feature, num_classes=num_classes, auxiliary_weight=auxiliary_weight)


def _black(model: nn.Module) -> Tensor:
    """An image where the weights of a model are, and as they are."""
    like = next((weight for weight in model.parameters() if weight.is_floating_point()), torch.zeros(()))
    return like.new_zeros(1, 3, 64, 64)


def _trial(model: nn.Module, feature: str, images: Tensor) -> tuple[Any, Tensor]:
    """What a model gives for images, and what a module of it does; the model is left as it was."""
    seen: list[Any] = []
    modes = {module: module.training for module in model.modules()}
    hook = model.get_submodule(feature).register_forward_hook(lambda _module, _args, output: seen.append(output))
    try:
        # Evaluation mode, so that no statistics are taken of these images.
        model.eval()
        with torch.no_grad():
            output = model(images)
    except (RuntimeError, ValueError, TypeError, AssertionError) as error:
        raise InputError(
            f"the model does not take images of {tuple(images.shape)} ({str(error).splitlines()[0]}); "
            "give as `example` images that it takes"
        ) from error
    finally:
        hook.remove()
        for module, mode in modes.items():
            module.training = mode
    return output, _feature_map(seen, feature)


def _feature_map(seen: list[Any], feature: str) -> Tensor:
    """The one output of a module, which must be a map."""
    if len(seen) != 1:
        raise InputError(
            f"feature is {feature!r}, which ran {len(seen)} times in one forward pass of the model and must run once; "
            "name another module, and wrap a model that was unwrapped, or compiled, anew"
        )
    if not isinstance(seen[0], Tensor) or seen[0].ndim != 4:
        shape = tuple(seen[0].shape) if isinstance(seen[0], Tensor) else type(seen[0]).__name__
        raise InputError(
            f"feature is {feature!r}, which gives {shape} and must give a map [batch, channels, rows, columns]; "
            "name the module within or behind it that does"
        )
    return seen[0]


def _logits(output: Any, *, num_classes: int) -> Tensor:  # noqa: ANN401 (whatever the model gives)
    """The class logits among what a model gives, at their own stride."""
    found = output
    if isinstance(output, Mapping):
        found = next((output[name] for name in LOGITS if name in output), None)
    elif isinstance(output, tuple | list) and output:
        found = output[0]
    if not isinstance(found, Tensor):
        raise InputError(
            f"the model gives {type(output).__name__}, and no logits were found in it; let its forward return a "
            f"tensor, a tuple whose first is one, or a dict that has one as {' or '.join(map(repr, LOGITS))}"
        )
    if found.ndim != 4 or found.shape[1] != num_classes:
        raise InputError(
            f"num_classes is {num_classes} and the logits of the model are {tuple(found.shape)}, which must be "
            "[batch, classes, rows, columns]; give the number of their classes"
        )
    return found
