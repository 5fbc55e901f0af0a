import base64
import hashlib
import re

from inverseform.report.style import SCRIPT, STYLE, policy


def test_the_policy_names_the_script_and_forbids_all_else():
    rules = dict(rule.strip().split(" ", 1) for rule in policy().split(";"))
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    assert rules == {"default-src": "'none'", "img-src": "data:", "style-src": "'unsafe-inline'",
                     "script-src": f"'sha256-{digest}'"}  # fmt: skip


def test_the_script_is_small_and_ends_nothing():
    assert len(SCRIPT) < 400
    assert "<" not in SCRIPT


def test_the_slider_is_for_the_screen_and_for_scripts_alone():
    """In print, and without the script, truth and prediction lie side by side."""
    assert STYLE.count("{") == STYLE.count("}")
    moved = [line for line in STYLE.splitlines() if "clip-path" in line or ".js .slide {" in line]
    on_screen = re.search(r"@media screen \{\n(.*?)\n\}", STYLE, re.DOTALL)[1]
    assert moved and all(line in on_screen and ".js" in line for line in moved)
    assert re.search(r"^\.slide \{ display: none; \}", STYLE, re.MULTILINE)
