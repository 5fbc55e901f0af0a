"""How the page on a segmenter looks, and its one script: the slider between truth and prediction.

Without the script, and in print, the two stand side by side.
"""

import base64
import hashlib

from inverseform import plots

STYLE = (
    plots.STYLE
    + """
nav { display: flex; flex-wrap: wrap; gap: 2px 18px; font-size: 14px; margin: 18px 0 0; }
a { color: var(--accent); } h2, h3 { scroll-margin-top: 12px; } h3 { font-size: 16px; margin: 28px 0 2px; }
.cards .num { display: block; font-size: 14px; } .cards.lesser strong { font-size: 26px; }
.bar { position: relative; } .bar u { position: absolute; top: 3px; height: 6px; border: solid var(--ink);
  border-width: 0 2px; background: linear-gradient(var(--ink), var(--ink)) 0 50% / 100% 2px no-repeat; }
.name small { display: block; color: var(--soft); }
.wide { display: grid; grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); gap: 8px 40px; align-items: start; }
.wide figure { margin: 8px 0 0; } .wide svg { display: block; width: 100%; max-width: 520px; height: auto; }
.wide svg text { font: 11px system-ui, sans-serif; fill: var(--soft); }
.figures td, .figures thead th { text-align: right; } .figures th, .figures td { padding: 5px 10px 5px 0;
  border-bottom: 1px solid var(--line); } .figures thead th { color: var(--soft); vertical-align: bottom; }
.figures { width: 100%; margin-top: 8px; } .figures th:first-child { text-align: left; overflow-wrap: anywhere; }
.figures svg { display: block; width: 100px; height: 14px; margin-left: auto; } .figures .told { text-align: left; }
.gain { color: var(--accent); } .loss { color: var(--warn); }
.slide { display: none; }
@media screen {
  .js .strip { grid-template-columns: 1fr 1fr; gap: 12px; }
  .js .stack { display: grid; position: relative; overflow: hidden; }
  .js .stack > div { grid-area: 1 / 1; } .js .stack span { display: none; }
  .js .stack .truth img, .js .stack .prediction img { opacity: .72; }
  .js .stack .truth img { clip-path: inset(0 calc(100% - var(--x)) 0 0); }
  .js .stack .prediction img { clip-path: inset(0 0 0 var(--x)); }
  .js .stack::after { content: ""; position: absolute; inset: 0 auto 0 var(--x); width: 2px; margin-left: -1px;
    background: #fff; box-shadow: 0 0 0 1px rgb(0 0 0 / .5); }
  .js .slide { display: grid; grid-template-columns: auto 1fr auto; gap: 10px; align-items: center; font-size: 13px; }
  .js .slide input { width: 100%; height: 28px; margin: 0; accent-color: var(--accent); touch-action: pan-y; }
}
.view, .stack { display: contents; }
@media screen { .js .view { display: block; } }
@media (max-width: 640px) { .js .strip { grid-template-columns: 1fr; } .figures { font-size: 13px; }
  .figures .plot { display: none; }
  .figures td .soft { display: block; } .figures th, .figures td { padding-right: 6px; } }
@media print { nav { display: none; } .wide { grid-template-columns: 1fr 1fr; } .strip { gap: 6px; }
  .figures tr, .wide figure, .cards > div { break-inside: avoid; } }
"""
)

SCRIPT = (
    'document.documentElement.classList.add("js");'
    'document.addEventListener("input",function(e){var t=e.target;if(t.type==="range")'
    't.closest(".sample").style.setProperty("--x",t.value+"%")});'
)
"""It moves a length of the style; browsers make the keys of the slider themselves."""


def policy() -> str:
    """What the page may do, for a browser: show pictures that are in it, and run the one script. Nothing is fetched."""
    script = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{script}'"
