"""Build the images and write their bills of materials.

    python -m containers.build                                both
    python -m containers.build small --small cuda             one, with another build of torch
    python -m containers.build --tag 0.1.0 --base-image NAME  with a tag for a registry, on a base of one's own

Packages are installed anew when constraints.txt, a list of packages or the Containerfile is new; our code always is.
"""

import argparse
import hashlib
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path

from containers import cache, debian, sbom, wheels
from containers.engine import NoEngine, docker, engine

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "containers" / "Containerfile"
DESCRIPTIONS = {
    "small": "The stages of inverseform that build no network: ingest, synthesize",
    "large": "The stages of inverseform that build a network: both trainings, evaluate, export",
}
CPU_TORCH = "2.13.0+cpu"
"""The CPU build of torch in an image that has no use for another."""


def name_of(image: str, tag: str = "dev") -> str:
    """The name of an image in the engine."""
    return f"localhost/inverseform/{image}:{tag}"


def bill_of(image: str, tag: str = "dev") -> Path:
    """Where the bill of materials of an image lies."""
    return cache.root() / "sbom" / f"{image}-{tag}.cdx.json"


def main(argv: Sequence[str] | None = None) -> None:
    """The command line; leaves with 0, with 1 where a build fails, and with 3 where there is no engine."""
    parser = argparse.ArgumentParser(prog="python -m containers.build", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("images", nargs="*", metavar="IMAGE", help="small, large (both)")
    parser.add_argument("--tag", type=_tag, default="dev", help="of the images (default: %(default)s)")
    parser.add_argument(
        "--base-image", help="with Python's venv module and useradd (default: made of Debian's packages)"
    )
    parser.add_argument("--small", choices=["cpu", "cuda"], default="cpu", help="build of torch (default: %(default)s)")
    parser.add_argument(
        "--large", choices=["cpu", "cuda"], default="cuda", help="build of torch (default: %(default)s)"
    )
    parser.add_argument("--cpu-torch", default=CPU_TORCH, help="version of a CPU build (default: %(default)s)")
    given = parser.parse_args(argv)
    if wrong := [image for image in given.images if image not in DESCRIPTIONS]:
        parser.error(f"{wrong[0]} is no image; type {' or '.join(DESCRIPTIONS)}, or nothing for both")
    try:
        with engine() as host:
            for image in given.images or DESCRIPTIONS:
                instead = {"torch": given.cpu_torch} if getattr(given, image) == "cpu" else {}
                build(image, host=host, tag=given.tag, base=given.base_image, instead=instead)
    except NoEngine as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(3)
    except subprocess.CalledProcessError as error:
        print(f"error: {' '.join(map(str, error.cmd))}: exit status {error.returncode}", file=sys.stderr)
        print(error.stderr or "", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        print(f"error: {error.filename or 'a file'}: {error.strerror or error}; see {cache.root()}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("\ninterrupted; what was finished is kept", file=sys.stderr)
        sys.exit(130)


def _tag(text: str) -> str:
    """A tag; argparse shows the message. Asked first: the engine would refuse it after minutes."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no tag, which has letters, digits, dots, hyphens and underlines")
    return text


def build(image: str, *, host: str, tag: str, base: str | None, instead: dict[str, str]) -> None:
    """Make one image, and its bill of materials.

    Args:
        image: `small` or `large`.
        host: The engine.
        tag: Of the image.
        base: What it is built on; by default what `debian` makes.
        instead: Packages in another version than in constraints.txt.
    """
    begun = time.monotonic()
    base = base or debian.image(host)
    ask = ("run", "--rm", "--network=none", base, "python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])")
    python = docker(*ask, host=host).stdout.strip()
    house = wheels.house(image, python=python, instead=instead)
    below = _packages(image, house, base=base, host=host)
    _docker_build(ROOT, name_of(image, tag), {"PACKAGES": below, **labels(image)}, host=host)
    sbom.write(name_of(image, tag), bill_of(image, tag), packages=below, host=host, python=python)
    size = int(docker("image", "inspect", "--format", "{{.Size}}", name_of(image, tag), host=host).stdout)
    print(f"{name_of(image, tag)}  {size / 1e9:.2f} GB, {time.monotonic() - begun:.0f} s, bill {bill_of(image, tag)}")


def labels(image: str) -> dict[str, str]:
    """Build arguments for the labels of an image."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {
        "TITLE": f"inverseform-{image}",
        "DESCRIPTION": DESCRIPTIONS[image],
        "VERSION": project["version"],
        "REVISION": _revision(),
    }


def _packages(image: str, house: Path, *, base: str, host: str) -> str:
    """The image with all but our code: its name, which tells what it was made of."""
    layers = docker("image", "inspect", "--format", "{{json .RootFS.Layers}}", base, host=host).stdout
    recipe = FILE.read_text().partition("AS image")[0]
    made_of = "\0".join((recipe, layers, (house / wheels.LOCK).read_text()))
    name = name_of(f"{image}-packages", hashlib.sha256(made_of.encode()).hexdigest()[:12])
    # Asked first, as the engine would else be sent gigabytes of wheels to find out that it has used them.
    if not docker("images", "--quiet", name, host=host).stdout:
        _docker_build(house, name, {"BASE_IMAGE": base}, "--target=packages", host=host)
        # Its copy of the wheels; those of the cache stay.
        docker("builder", "prune", "--force", "--filter", "type=source.local", host=host)
    return name


def _docker_build(context: Path, name: str, arguments: dict[str, str], *more: str, host: str) -> None:
    given = [f"--build-arg={key}={value}" for key, value in arguments.items()]
    docker("build", "--network=none", f"--file={FILE}", f"--tag={name}", *given, *more, context, host=host)


def _revision() -> str:
    """The commit that is checked out, marked where files differ from it; `unknown` outside of git."""
    command = ["git", "-C", ROOT, "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


if __name__ == "__main__":
    main()
