import base64
import io
import re
import shutil
import subprocess
from dataclasses import replace

import pytest
import torch
from PIL import Image

from inverseform.evaluation.figures import Estimate
from inverseform.report.page import render
from inverseform.report.style import SCRIPT
from tests.report.drawn import HOSTILE, Reader, contents

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def page():
    return render(contents(against=True))


def test_the_page_is_well_formed(page):
    assert Reader(page).open == []


def test_the_page_asks_for_nothing_from_elsewhere(page):
    assert not re.search(r"https?:|//[a-z]", re.sub(r"base64,[A-Za-z0-9+/=]+", "", page))
    assert not re.search(r"@import|url\(", page)
    reader = Reader(page)
    assert not {"link", "iframe", "object", "embed"} & {tag for tag, _ in reader.tags}
    for tag, attributes in reader.tags:
        assert "src" not in attributes or (tag == "img" and attributes["src"].startswith("data:image/"))
        assert attributes.get("href", "#").startswith("#")


def test_links_lead_to_the_sections_and_to_all_of_them(page):
    reader = Reader(page)
    links = [attributes["href"][1:] for tag, attributes in reader.tags if tag == "a"]
    assert links == [attributes["id"] for tag, attributes in reader.tags if tag == "h2"]
    assert "comparison" in links
    assert 'href="#comparison"' not in render(contents())


def test_every_string_from_outside_is_escaped():
    plain, hostile = (Reader(render(contents(name=name, passed=False, against=True))) for name in ("road", HOSTILE))
    assert not any(name.startswith("on") for _, attributes in hostile.tags for name in attributes)
    assert [tag for tag, _ in hostile.tags] == [tag for tag, _ in plain.tags]
    # It is still told, as text, wherever a plain name would be.
    assert hostile.text.count("onerror=alert(1)> & co") == plain.text.count("road") > 10


def test_the_same_contents_give_the_same_bytes(page):
    assert render(contents(against=True)) == page


def test_pictures_are_inside_and_whole(page):
    pictures = [attributes for tag, attributes in Reader(page).tags if tag == "img"]
    assert len(pictures) == 3 * 4
    for attributes in pictures:
        picture = Image.open(io.BytesIO(base64.b64decode(attributes["src"].partition("base64,")[2])))
        picture.load()
        assert picture.size == (40, 30)
        assert attributes["alt"]


def test_every_figure_stands_on_the_page_with_its_interval():
    shown = contents()
    text = Reader(render(shown)).text
    for name, estimate in shown.figures.items():
        wanted = "undefined" if estimate.value is None else f"{100 * estimate.value:.1f} %"
        assert wanted in text, name
        if estimate.low is not None:
            assert f"{100 * estimate.low:.1f} to {100 * estimate.high:.1f} %" in text, name


def test_without_samples_curves_and_boundaries_there_still_is_a_page():
    empty = contents()
    nothing = {name: Estimate(None) for name in empty.figures}
    bare = replace(empty, worst=[], median=[], curves={}, figures=nothing, counts=torch.zeros_like(empty.counts),
                   bins=torch.zeros_like(empty.bins), without_boundary=4)  # fmt: skip
    page = render(bare)
    reader = Reader(page)
    assert "<img" not in page and "No curve was recorded" in reader.text
    assert "undefined Mean boundary accuracy" in reader.text
    assert "4 of the 4 images have no boundary" in reader.text
    assert not re.search(r"\bnan\b", page, re.IGNORECASE)


@pytest.fixture(scope="module")
def browse(tmp_path_factory):
    """Runs chromium on a page; what it prints."""
    if CHROMIUM is None:
        pytest.skip("there is no chromium to look at the page with")
    folder = tmp_path_factory.mktemp("chromium")

    def run(page, *words):
        (folder / "page.html").write_text(page, encoding="utf-8")
        command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        command += [f"--user-data-dir={folder / 'profile'}", *words, f"file://{folder / 'page.html'}"]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout

    return run


def test_a_browser_draws_the_page_and_prints_it(page, browse, tmp_path):
    browse(page, "--window-size=1280,1600", f"--screenshot={tmp_path / 'wide.png'}")
    with Image.open(tmp_path / "wide.png") as picture:
        assert picture.size == (1280, 1600)
        assert len(picture.convert("RGB").getcolors(1 << 24) or []) > 50
    browse(page, f"--print-to-pdf={tmp_path / 'page.pdf'}")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")


def test_in_a_browser_the_policy_lets_the_one_script_run_and_no_other(page, browse):
    evil = page.replace("</body>", "<script>document.title = 'evil'</script></body>")
    dom = browse(evil, "--dump-dom")
    assert 'class="js"' in dom
    assert "<title>evil" not in dom


def test_in_a_browser_the_slider_moves_the_line_and_nothing_is_wider_than_a_phone(page, browse):
    probe = """<script>
    const slider = document.querySelector("input[type=range]"); slider.focus(); slider.value = 20;
    slider.dispatchEvent(new Event("input", {bubbles: true}));
    const clip = getComputedStyle(document.querySelector(".truth img")).clipPath;
    const frame = document.createElement("iframe"); frame.style.width = "390px"; frame.style.height = "900px";
    const copy = document.documentElement.cloneNode(true);
    for (const script of copy.querySelectorAll("script")) script.remove();
    frame.srcdoc = "<!doctype html>" + copy.outerHTML;
    const focused = document.activeElement === slider;
    frame.onload = () => {
      document.title = [clip, focused, frame.contentDocument.documentElement.scrollWidth].join("|"); };
    document.body.append(frame);
    </script></body>"""
    open_to_scripts = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page).replace("</body>", probe)
    assert SCRIPT in open_to_scripts
    dom = browse(open_to_scripts, "--window-size=1280,900", "--virtual-time-budget=3000", "--dump-dom")
    clip, focused, width = re.search(r"<title>([^<]*)</title>", dom)[1].split("|")
    assert re.search(r"80%|20%", clip), clip
    assert focused == "true"
    assert int(width) <= 390
