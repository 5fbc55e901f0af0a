"""docs/kubeflow.md: what it tells to type works, as far as no cluster and no engine is needed."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipeline.__main__ import COMMANDS
from pipeline.flags import parser
from pipeline.profile import load_profile
from pipeline.site import NEEDS, Site

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "kubeflow.md").read_text()
BLOCKS = re.findall(r"^```bash\n(.*?)^```", PAGE, re.S | re.M)
NEEDING = ("# needs a cluster\n", "# needs a container engine\n")
RUN = [block for block in BLOCKS if not block.startswith(NEEDING)]
OURS = [line for block in BLOCKS for line in block.replace("\\\n", " ").splitlines() if "python -m pipeline" in line]


@pytest.mark.parametrize("block", RUN)
def test_a_block_without_a_mark_runs(block, tmp_path):
    # Beside the repository's folders, so that what is written lands elsewhere.
    for entry in ("pipeline", "params.yaml"):
        (tmp_path / entry).symlink_to(ROOT / entry)
    script = f'python() {{ "{sys.executable}" "$@"; }}\n{block}'
    done = subprocess.run(["bash", "-euc", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in re.findall(r"-o (\S+)", block):
        assert (tmp_path / name).stat().st_size > 0


def test_only_what_cannot_run_here_is_marked():
    for block in BLOCKS:
        if block not in RUN:
            told = block.split("\n", 1)[1]
            assert re.search(r"kubectl|docker|pipeline (submit|status|run-local)", told), told
    assert len(RUN) >= 2


@pytest.mark.parametrize("line", OURS)
def test_every_flag_that_is_named_exists(line):
    words = shlex.split(line.strip(), comments=True)
    given = parser(COMMANDS).parse_args(words[words.index("pipeline") + 1 :])
    for path in filter(None, (getattr(given, "profile", None), getattr(given, "params", None))):
        assert (ROOT / path).is_file(), path


def test_every_file_that_is_named_is_there():
    for link in re.findall(r"\]\(([^)#:]+)\)", PAGE):
        assert (ROOT / "docs" / link).exists(), link
    for name in re.findall(r"-f (pipeline/\S+)", PAGE):
        assert (ROOT / name).is_file(), name


def test_the_profile_that_is_shown_is_one(tmp_path):
    (shown,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.S | re.M)
    file = tmp_path / "profile.yaml"
    file.write_text(shown)
    assert load_profile(file).small_image == yaml.safe_load(shown)["small_image"]


def test_every_setting_of_a_profile_is_explained():
    table = PAGE.split("| setting |")[1].split("\n\n")[0]
    for name in Site.model_fields:
        assert re.search(rf"`{name}[`.]", table), name
    for name in {field for needs in NEEDS.values() for field in needs}:
        assert f"`stages.*.{name}`" in table or f"`{name}`" in table, name


def test_every_exit_status_and_command_is_told():
    for name in COMMANDS:
        assert f"python -m pipeline {name} " in PAGE, name
    assert re.findall(r"^\| (\d) \|", PAGE, re.M) == ["0", "1", "2", "3"]
