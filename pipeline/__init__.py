"""The six stages as a graph for Kubeflow Pipelines: it names the stages and never imports them."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Something handed in is wrong; the command line prints the message without a traceback and leaves with 2."""


def nearest(name: str, names: Iterable[str]) -> str:
    """The name that looks most like a mis-spelt one."""
    return difflib.get_close_matches(name, list(names), n=1, cutoff=0)[0]
