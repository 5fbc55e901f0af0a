"""The sections on how the network came about: its training, what was run, and with which settings."""

import html
import json
from collections.abc import Mapping
from typing import Any

from inverseform.plots import Points, chart

_KINDS = {
    "gradient_": ("How hard each term pulls", "Norms of the gradients of each term, on the class or boundary logits."),
    "cosine_": ("Whether they pull the same way", "1: the same way; 0: at right angles; -1: against each other."),
    "val_": ("Scores on the way", "On the split that the best network is chosen by."),
    "": ("The loss and its terms", "Each term over the steps, on a scale of its own."),
}
"""Curves that belong together, by how their names begin; the last are all others."""


def training(curves: Mapping[str, Points]) -> str:
    """Training curves, one small chart each."""
    silent = [name for name, points in curves.items() if not any(value for _, value in points)]
    groups = {prefix: [] for prefix in ["", *(prefix for prefix in _KINDS if prefix)]}
    for name, points in curves.items():
        if name not in silent:
            prefix = next(prefix for prefix in _KINDS if name.startswith(prefix))
            groups[prefix].append(chart(points, name=name.removeprefix(prefix).replace("_", " ") if prefix else name))
    body = "".join(
        f'<h3>{_KINDS[prefix][0]}</h3><p class="soft">{_KINDS[prefix][1]}</p>'
        f'<div class="charts">{"".join(charts)}</div>'
        for prefix, charts in groups.items()
        if any(charts)
    )
    # In words: a flat line among curves is passed over, and a term that does nothing should not be.
    told = f"<p>0 at every step: {html.escape(', '.join(silent))}.</p>" if silent else ""
    return f'<h2 id="training">Training</h2>{body or "<p>No curve was recorded.</p>"}{told}'


def run(facts: Mapping[str, str], params: Mapping[str, Any]) -> str:
    """What was run, and with which settings."""
    rows = "".join(
        f'<tr><th scope="row">{html.escape(name)}</th><td>{html.escape(value)}</td></tr>'
        for name, value in facts.items()
    )
    # Names of classes may be of any script: readable here rather than as numbers.
    text = html.escape(json.dumps(params, indent=2, ensure_ascii=False))
    return (
        f'<h2 id="run">What was run</h2><table class="facts"><tbody>{rows}</tbody></table>'
        f"<details><summary>Settings of this evaluation and of the network</summary><pre>{text}</pre></details>"
    )
