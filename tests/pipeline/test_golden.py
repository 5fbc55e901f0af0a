"""The compiled graph of the profile `gpu` is the one that was looked at: golden.yaml.

Where a change was meant, write it anew with `python -m tests.pipeline.test_golden`, and read its difference.
"""

import difflib
import sys
import tempfile
from pathlib import Path

import pytest
import yaml

from pipeline.graph import STAGES
from pipeline.profile import load_profile
from pipeline.submit import compile_graph

GOLDEN = Path(__file__).with_name("golden.yaml")
PROFILE = Path(__file__).resolve().parents[2] / "pipeline" / "profiles" / "gpu.yaml"


def compiled() -> str:
    """Both documents in one spelling, without the versions of kfp, which say nothing about the graph."""
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder, "pipeline.yaml")
        # The settings are those of params.yaml, which change without the graph.
        compile_graph(package, site=load_profile(PROFILE), defaults={f"{stage}_params": "{}" for stage in STAGES})
        documents = list(yaml.safe_load_all(package.read_text()))
    for version in ("sdkVersion", "schemaVersion"):
        documents[0].pop(version)
    return yaml.safe_dump_all(documents, sort_keys=True, width=120)


def test_the_compiled_graph_is_the_golden_one():
    found, golden = compiled(), GOLDEN.read_text()
    if found != golden:
        lines = difflib.unified_diff(
            golden.splitlines(), found.splitlines(), "golden.yaml", "compiled", lineterm="", n=2
        )
        pytest.fail(
            "the graph is another than tests/pipeline/golden.yaml; if that is meant, type\n"
            "  python -m tests.pipeline.test_golden\nand read the difference:\n" + "\n".join(list(lines)[:80]),
            pytrace=False,
        )


def test_the_same_graph_is_compiled_twice():
    assert compiled() == compiled()


if __name__ == "__main__":
    GOLDEN.write_text(compiled())
    print(f"{GOLDEN} written", file=sys.stderr)
