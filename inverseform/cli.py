"""The command `inverseform`: what a person does with an exported network, and with a loss that is in doubt."""

import errno
import struct
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import typer
from einops import rearrange
from jaxtyping import UInt8
from PIL import Image, ImageOps
from pydantic import ValidationError

import inverseform
from inverseform.cityscapes_labels import submitted_mask, submitted_name
from inverseform.inference import OnnxSegmenter, Provider
from inverseform.scores import PLAIN, InferenceParams
from inverseform.settings import InputError

# What an exported network needs is here; torch is imported by the command that asks for it alone.
if TYPE_CHECKING:
    from torch import Tensor

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

MaskFormat = Literal["palette", "cityscapes"]
PHOTOS = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""The endings by which a photo in a folder is known."""


def _version(wanted: bool) -> bool:
    if wanted:
        typer.echo(f"inverseform {inverseform.__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def main(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which.")] = False,
) -> None:
    """Segmentation with networks that inverseform trained and exported."""


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="The ONNX file that the stage export wrote.")],
    photos: Annotated[list[Path], typer.Argument(help="Images, or folders of them.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The mask (PNG); for several images a folder.")],
    overlay: Annotated[bool, typer.Option(help="Write the image under its classes too, as NAME.overlay.png.")] = False,
    provider: Annotated[Provider, typer.Option(help="Where to run it.")] = "cpu",
    window: Annotated[
        tuple[int, int] | None, typer.Option(metavar="H W", help="Slide a window of H x W pixels over the image.")
    ] = PLAIN.window,
    overlap: Annotated[float, typer.Option(help="Of neighbouring windows, as a share of them.")] = PLAIN.overlap,
    flip: Annotated[bool, typer.Option("--flip", help="Average with what is seen in the mirror image.")] = PLAIN.flip,
    scales: Annotated[str, typer.Option(help="Average over these sizes of the image: 0.75,1,1.25.")] = "1",
    format: Annotated[
        MaskFormat, typer.Option(help="Palette PNG of class ids, or labelIds as the test server of Cityscapes takes.")
    ] = "palette",
) -> None:
    """Write the class of each pixel as a palette PNG: ids as values, in the colours of the network."""
    try:
        inference = _inference(window, overlap, flip, scales)
        if overlay and format == "cityscapes":
            raise InputError("--overlay: the server takes every PNG of a folder for a mask; leave it out")
        masks = _places(photos, output, format)
        segmenter = OnnxSegmenter(model, provider=provider)
        for photo, mask in masks.items():
            _predict(segmenter, photo, mask, inference, overlay=overlay, format=format)
            typer.echo(mask)
    except (InputError, OSError) as error:
        typer.echo(f"inverseform predict: {_one_line(error)}", err=True)
        raise typer.Exit(2) from error


@app.command()
def doctor(
    loss: Annotated[
        str | None, typer.Argument(help="package.module:attribute; called with (logits, boundary).")
    ] = None,
    net: Annotated[Path | None, typer.Option(help="Or an inverse network that train_inverse wrote.")] = None,
    pretrained: Annotated[bool, typer.Option("--pretrained", help="Or the one that comes with the package.")] = False,
    labels: Annotated[Path | None, typer.Option(help="Take boundaries from the label PNGs of a folder.")] = None,
    size: Annotated[int | None, typer.Option(min=16, help="Side of the maps the loss is given, in pixels.")] = None,
    tiles: Annotated[int, typer.Option(min=2, help="How many maps; each is moved in some 50 ways.")] = 12,
) -> None:
    """Say whether a boundary loss can train anything: its gradient, zero and growth. Leaves with 1 if it is sick."""
    try:
        from inverseform.doctor import diagnose

        maps = None if labels is None else _boundaries_in(labels)
        diagnosis = diagnose(_criterion(loss, net, pretrained), maps=maps, size=size, tiles=tiles)
    except (InputError, OSError) as error:
        typer.echo(f"inverseform doctor: {_one_line(error)}", err=True)
        raise typer.Exit(2) from error
    typer.echo(str(diagnosis))
    raise typer.Exit(int(diagnosis.sick))


def _criterion(loss: str | None, net: Path | None, pretrained: bool) -> Any:  # noqa: ANN401 (a loss of the user's)
    """The loss that was named.

    Raises:
        FileNotFoundError: There is no such folder of a network.
        InputError: None was named, or several, or it cannot be imported.
    """
    from inverseform.loss import InverseFormLoss
    from inverseform.trials import named

    if [loss is not None, net is not None, pretrained].count(True) != 1:
        raise InputError("name one loss: package.module:attribute, or --net FOLDER, or --pretrained")
    if loss is None:
        return InverseFormLoss.pretrained() if net is None else InverseFormLoss.load(net)
    # As `python -m` does: what lies in the working directory can be imported.
    sys.path.insert(0, "")
    return named(loss)


def _boundaries_in(folder: Path) -> "list[Tensor]":
    """Boundary maps of the label PNGs of a folder: ids as values, 255 for ignored pixels.

    Raises:
        InputError: It holds none, or one that is no label map.
    """
    import torch

    from inverseform.boundary import boundaries

    maps = []
    for path in sorted(folder.glob("*.png")):
        with Image.open(path) as picture:
            ids = np.array(picture)
        if ids.ndim != 2 or ids.dtype != np.uint8:
            raise InputError(f"{path}: mode {picture.mode}; class ids are the values of an 8-bit PNG of mode L or P")
        maps.append(boundaries(torch.from_numpy(ids)[None], num_classes=255)[0][0])
    if not maps:
        raise InputError(f"{folder}: holds no label map; they end in .png")
    return maps


def _inference(window: tuple[int, int] | None, overlap: float, flip: bool, scales: str) -> InferenceParams:
    """The settings that evaluate has too, from the options.

    Raises:
        InputError: One is out of range, or the scales are no numbers.
    """
    try:
        factors = tuple(float(scale) for scale in scales.split(","))
    except ValueError as error:
        raise InputError(f"--scales {scales}: numbers with commas between them; --scales 0.75,1,1.25") from error
    if overlap and window is None:
        raise InputError(f"--overlap {overlap}: windows overlap, and there are none; name their size, --window 512 512")
    try:
        return InferenceParams(window=window, overlap=overlap, flip=flip, scales=factors)
    except ValidationError as error:
        wrong = error.errors()[0]
        raise InputError(f"--{wrong['loc'][0]}: {wrong['input']} is wrong: {wrong['msg'].lower()}") from error


def _predict(
    segmenter: OnnxSegmenter, photo: Path, mask: Path, inference: InferenceParams, *, overlay: bool, format: MaskFormat
) -> None:
    """One image to one mask."""
    image = read_photo(photo)
    try:
        classes = segmenter(rearrange(image, "height width channel -> channel height width"), inference=inference)
    except InputError as error:
        raise InputError(f"{photo}: {error}") from error
    if format == "cityscapes":
        _write(Image.fromarray(submitted_mask(classes, segmenter.manifest.classes)), mask)
        return
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(segmenter.manifest.colours)] = segmenter.manifest.colours
    picture = Image.fromarray(classes)
    picture.putpalette(palette.tobytes())
    _write(picture, mask)
    if overlay:
        _write(Image.blend(Image.fromarray(image), picture.convert("RGB"), 0.5), mask.with_suffix(".overlay.png"))


def read_photo(path: Path) -> UInt8[np.ndarray, "height width 3"]:
    """An image as RGB, turned upright.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: It is damaged, no image, or has more than 8 bits a channel.
    """
    try:
        with Image.open(path) as photo:
            photo.load()
            upright = ImageOps.exif_transpose(photo)
    except FileNotFoundError:
        raise
    except (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        struct.error,
        zlib.error,
        Image.DecompressionBombError,
    ) as error:
        # Pillow's readers differ in what they raise for a damaged file, and few of them name it.
        raise InputError(f"{path}: cannot be read as an image ({_one_line(error)}); name a whole one") from error
    if upright.mode.startswith(("I", "F")):
        raise InputError(f"{path}: mode {upright.mode}; 8 bits a channel is the rule: save it as 8-bit RGB")
    return np.array((upright.convert("RGBA") if "transparency" in upright.info else upright).convert("RGB"))


def _places(photos: list[Path], output: Path, format: MaskFormat) -> dict[Path, Path]:
    """The mask of each image.

    Raises:
        FileNotFoundError: An image or the folder of the masks does not exist.
        InputError: There are no images, or a mask would overwrite an image or another mask.
    """
    # The server goes by the names of the masks, so that a single one has no other name either.
    several = len(photos) > 1 or photos[0].is_dir() or format == "cityscapes"
    found = [path for photo in photos for path in (_photos_in(photo) if photo.is_dir() else [photo])]
    folder = output if several else output.parent
    if not folder.is_dir():
        raise FileNotFoundError(errno.ENOENT, f"no such folder for -o; mkdir -p {folder}", str(folder))
    named = submitted_name if format == "cityscapes" else _mask_name
    masks = {photo: output / named(photo) if output.is_dir() else output for photo in found}
    if not output.is_dir() and output.suffix.lower() != ".png":
        raise InputError(f"-o {output}: a mask is a PNG file; -o {output.with_suffix('.png')}")
    inputs = {path.resolve() for path in found}
    taken: dict[Path, Path] = {}
    for photo, mask in masks.items():
        if mask.resolve() in inputs:
            raise InputError(f"-o {output}: the mask of {photo} would overwrite the image {mask}; name another folder")
        if mask in taken:
            raise InputError(f"-o {output}: {taken[mask]} and {photo} would both become {mask}; rename one of them")
        taken[mask] = photo
    return masks


def _mask_name(photo: Path) -> str:
    return f"{photo.stem}.png"


def _photos_in(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in PHOTOS and path.is_file())
    if not found:
        raise InputError(f"{folder}: holds no image; images end in {' '.join(PHOTOS)}")
    return found


def _write(picture: Image.Image, path: Path) -> None:
    """Beside its place first, then renamed, so that no half of a PNG is ever taken for a mask."""
    partial = path.with_name(f".partial.{path.name}")
    try:
        picture.save(partial, format="PNG")
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)


def _one_line(error: Exception) -> str:
    """The words of an error, with the file of an OSError first."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())
