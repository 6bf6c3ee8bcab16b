"""The page as a browser shows it: on a phone and a desk, in light and dark. Needs playwright and Debian's chromium."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from results.reports.html import MAX_BYTES, report_html
from results.schema import Evaluation, Phase, Quality, Trace

pytest.importorskip("plotly", reason="needs the report extra")

Make = Callable[..., Any]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt install chromium")

# WCAG 2 contrast between two computed colours, as the page itself has them.
CONTRAST = """([ink, ground]) => {
  const light = (colour) => colour.match(/[0-9.]+/g).slice(0, 3).map((part) => part / 255)
    .map((part) => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
  const [high, low] = [light(ink), light(ground)].sort((a, b) => b - a);
  return (high + 0.05) / (low + 0.05);
}"""

# The distinct colours of text, which a figure fills and a paragraph is written in.
INKS = """all => [...new Set(all.map(
  (each) => getComputedStyle(each)[each instanceof SVGElement ? "fill" : "color"]
))]"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    # Here and not above: every process of the tests collects this file, and one starts the browser.
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page_file(document: Make, trial: Make, failed: Make, tmp_path: Path) -> Path:
    """A page with every kind of figure, and a trial that failed."""
    traces = [
        Trace(quantity="rss_bytes", source="kernel", t_s=[0.0, 1.0, 2.0], values=[1e6, 3e6, 2e6]),
        Trace(quantity="power_w", source="rapl/package-0", t_s=[0.0, 1.0, 2.0], values=[10.0, 20.0, 12.0]),
    ]
    phases = [Phase(name="setup", start_s=0, end_s=1), Phase(name="train", start_s=1, end_s=2)]
    quality = Quality(
        train_loss=[2.3, 1.1, 0.7],
        test_accuracy=0.97,
        test_items=100,
        evaluations=[
            Evaluation(step=20 * epoch, epoch=epoch, test_accuracy=accuracy, duration_s=0.1)
            for epoch, accuracy in ((1, 0.9), (2, 0.95), (3, 0.97))
        ],
    )
    trials = [trial(traces=traces, phases=phases, quality=quality), trial("lowmem"), failed("lean")]
    text = report_html([("first", document(trials)), ("second", document())])
    assert len(text.encode()) < MAX_BYTES
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    return tmp_path / "page.html"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
def test_every_figure_is_drawn_readably_and_nothing_is_fetched(
    browser: Any, page_file: Path, width: int, scheme: str
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said: list[str] = []
    page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: said.append(f"error: {error}"))
    page.on("request", lambda request: said.append(request.url) if request.url.startswith("http") else None)
    page.goto(page_file.as_uri())
    page.wait_for_function("document.documentElement.dataset.drawn !== undefined")
    assert said == []
    boxes = page.locator(".plot .main-svg").evaluate_all(
        "all => all.map((each) => each.getBoundingClientRect().toJSON())"
    )
    plots = page.locator(".plot").count()
    assert page.evaluate("Number(document.documentElement.dataset.drawn)") == plots >= 9
    assert all(box["left"] >= 0 and box["right"] <= width and box["height"] > 50 for box in boxes)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    marks = ".plot .bars path, .plot .scatterlayer path.js-line, .plot .boxlayer path.box"
    assert page.locator(marks).count() >= plots
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    inks = page.locator(".plot text, p, td, li, figcaption, dt").evaluate_all(INKS)
    assert inks
    assert min(page.evaluate(CONTRAST, [ink, ground]) for ink in inks) >= 4.5
    assert (page.evaluate(CONTRAST, [ground, "rgb(255, 255, 255)"]) < 2) == (scheme == "light")
    page.close()


def test_on_paper_the_figures_fit(browser: Any, page_file: Path) -> None:
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.goto(page_file.as_uri())
    page.wait_for_function("document.documentElement.dataset.drawn !== undefined")
    paper = page.pdf(format="A4")
    assert paper.startswith(b"%PDF")
    assert len(paper) > 20_000
    page.close()
