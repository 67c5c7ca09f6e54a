"""What a notebook shows, in a real browser: nothing that a job said becomes part of the page."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

import pytest

import raysched as rs
from browser import dom
from raysched.client import cards
from raysched.show.html import html
from raysched.spec.cards import job_card

NOW = datetime(2026, 11, 25, 21, 0, tzinfo=UTC)
HURT = "document.body.dataset.hurt='yes'"
HOSTILE = [
    f"<script>{HURT}</script>",
    f"<img src=x onerror={HURT}>",
    f"\"'><svg onload={HURT}></svg>",
    f'" autofocus onfocus="{HURT}',
    f"</pre></td></tr></table></div></style></title><script>{HURT}</script>",
    f"<a href=\"javascript:{HURT}\">javascript:{HURT}</a><iframe srcdoc='<script>1</script>'>",
    "<style>*{display:none}</style><base href=//evil.example><meta http-equiv=refresh content=0>",
    "<!-- <plaintext> <noscript> <textarea> <form action=//evil.example>",
    "\x1b[2J \u202e reversed \u2066 \ud800 \x00 \u2028",
    f"<scr\x00ipt>{HURT}</scr\x00ipt>",
]
THEMES = {
    "white": "background:#fff;color:#111",
    "near-black": "background:#111;color:#eee",
    "jupyterlab light": "background:#fff;color:rgba(0,0,0,.87);--jp-ui-font-color1:rgba(0,0,0,.87);"
    "--jp-brand-color1:#1976d2;--jp-success-color1:#388e3c;--jp-error-color1:#d32f2f;"
    "--jp-warn-color1:#f57c00;--jp-border-color1:#bdbdbd",
    "jupyterlab dark": "background:#111;color:#fff;--jp-ui-font-color1:rgba(255,255,255,1);"
    "--jp-brand-color1:#1e88e5;--jp-success-color1:#388e3c;--jp-error-color1:#d32f2f;"
    "--jp-warn-color1:#f57c00;--jp-border-color1:#616161",
}
# The contrast of each text with what lies behind it, as the WCAG reckon it.
PROBE = """
function parts(c){const m=c.match(/[\\d.]+/g).map(Number);return m.length<4?[...m,1]:m}
function over(f,b,o){return [0,1,2].map(i=>f[i]*f[3]*o+b[i]*(1-f[3]*o))}
function light(c){const l=c.map(v=>{v/=255;return v<=.03928?v/12.92:((v+.055)/1.055)**2.4});
  return .2126*l[0]+.7152*l[1]+.0722*l[2]}
function contrast(a,b){const[x,y]=[light(a),light(b)].sort((p,q)=>q-p);return (x+.05)/(y+.05)}
const worst={};
for(const s of document.querySelectorAll('section')){
  const back=parts(getComputedStyle(s).backgroundColor);worst[s.title]=99;
  for(const e of s.querySelectorAll('.rsd, .rsd *')){
    if(e.tagName==='STYLE'||![...e.childNodes].some(n=>n.nodeType===3&&n.data.trim()))continue;
    let o=1;for(let p=e;p!==s;p=p.parentElement)o*=Number(getComputedStyle(p).opacity);
    const shown=over(parts(getComputedStyle(e).color),back,o);
    if(e.getClientRects().length===0)worst[s.title]=0;
    worst[s.title]=Math.min(worst[s.title],contrast(shown,back));
  }
}
document.body.dataset.worst=JSON.stringify(worst);
document.body.dataset.tags=JSON.stringify([...new Set(
  [...document.querySelectorAll('section *')].map(e=>e.localName))]);
document.body.dataset.attributes=JSON.stringify([...new Set(
  [...document.querySelectorAll('section *')].flatMap(e=>e.getAttributeNames()))]);
"""


def shown(text: str) -> list[str]:
    """Return each of the reprs, with a text in every place that a user or a job can fill."""
    job = rs.job(
        name="daily",
        schedule="0 6 * * *",
        params={"x": text.replace("\ud800", "")},
        resources={"".join(filter(str.isprintable, text))[:90] or "a": 1},
        label_selector={"a": text.replace("\ud800", "")},
    )(lambda x="": None)
    row = {
        "run_id": "daily@2026-11-25T20:00:00Z",
        "status": "failed",
        "trigger": text,
        "reason": text,
        "error_type": text,
        "error_message": text,
        "params": json.dumps({"x": text}, ensure_ascii=False),
        "metrics": {text: 1.0},
        "result_json": text,
        "node_ip": text,
        "progress": (1, 2),
        "slot": NOW,
        "duration_s": 3.0,
        "attempts": 1,
    }
    live = {"running": 0, "queued": 0, "next_slot": NOW, "timezone": "UTC"}
    listed = {"job": "a", "paused": True, "pause_note": text, "schedule": text, **live}
    status = {"home": text, "jobs": 1, "paused": 1, "runs": {text: 2}, "launcher": None}
    each = [
        job_card("Job", job.spec, NOW),
        cards.run_card(row, NOW, lines=[text] * 3, note=text),
        cards.client_card(status, [listed] * 3, {"a": "failed"}, NOW),
        cards.unknown_card("Run", text, text),
    ]
    return [html(card) for card in each]


def value(page: str, name: str):
    """Return what the page's own probe wrote down."""
    found = re.search(rf'data-{name}="(.*?)"', page)
    assert found, page[-2000:]
    return json.loads(found[1].replace("&quot;", '"'))


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The DOM of a page that holds every repr with every hostile text, in four themes."""
    folder = tmp_path_factory.mktemp("page")
    inside = "\n".join(piece for text in HOSTILE for piece in shown(text))
    sections = "".join(
        f'<section title="{name}" style="{css};padding:20px">{inside}</section>'
        for name, css in THEMES.items()
    )
    file = folder / "page.html"
    file.write_text(
        f"<!doctype html><meta charset=utf-8><body>{sections}<script>{PROBE}</script></body>"
    )
    return dom(file, folder / "profile")


def test_nothing_that_a_job_said_runs_or_becomes_an_element(page):
    assert "data-hurt" not in page
    tags = {"style", "div", "span", "code", "b", "table", "thead", "tbody"}
    assert set(value(page, "tags")) <= tags | {"tr", "th", "td", "pre"}
    assert set(value(page, "attributes")) == {"class", "style"}
    assert page.count("<script") == 1


def test_every_text_is_legible_in_light_and_dark_themes(page):
    worst = value(page, "worst")
    assert set(worst) == set(THEMES)
    assert min(worst.values()) >= 4.5, worst
