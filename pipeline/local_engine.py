"""The engine of a run on this machine: whether it answers, has the images, and how much memory it can give."""

import contextlib
import math
import os
from collections.abc import Iterator

import docker
import requests
from docker import errors

from pipeline import InputError

SHARE = 0.75
"""Of the machine's memory, what a container may use unless --memory says otherwise."""
LEAST = 64 << 20
"""Bytes of memory without which Python does not begin."""
PRIVATE = "python -m containers.engine python -m pipeline run-local ..."
"""Runs the command with the engine of `make images`: a private one, unless DOCKER_HOST names another."""


@contextlib.contextmanager
def connected() -> Iterator[docker.DockerClient]:
    """A client of the engine that DOCKER_HOST names.

    Raises:
        InputError: None answers there.
    """
    where = os.environ.get("DOCKER_HOST", "unset")
    try:
        client = docker.from_env()
    # It has no better words for some addresses that are none.
    except (errors.DockerException, ValueError, AttributeError) as error:
        raise InputError(
            f"no container engine answers ({error}); DOCKER_HOST is {where}; start Docker, set it, or type {PRIVATE}"
        ) from None
    try:
        yield client
    finally:
        client.close()


@contextlib.contextmanager
def told_if_away() -> Iterator[None]:
    """Say so where the engine ends, or refuses, before anything has run."""
    try:
        yield
    except (errors.DockerException, requests.RequestException) as error:
        raise InputError(f"the container engine does not do as it is told: {error}; look at its log") from None


def check_image(client: docker.DockerClient, image: str) -> None:
    """Refuse an image that is not there: nothing is pulled."""
    try:
        client.images.get(image)
    except errors.ImageNotFound:
        raise InputError(
            f"image {image} is not on this machine, or not in this engine, and run-local pulls nothing; pull it, name "
            f"others with --small-image and --large-image, or type {PRIVATE} for those of `make images`"
        ) from None


def memory(wanted: int | None, there: int) -> int:
    """What a container may use, of what there is on the machine."""
    if wanted is not None and not LEAST <= wanted <= there:
        raise InputError(
            f"--memory {wanted / 2**30:.4g} is none that a container can have here; type a number of GiB from "
            f"{LEAST / 2**30:.4g} to {math.floor(there / 2**30 * 100) / 100:g}"
        )
    return wanted or int(SHARE * there)
