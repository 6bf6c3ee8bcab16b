import json
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest

from results.errors import ReportError
from results.reports import figures
from results.reports.html import MAX_BYTES, report_html
from results.reports.paper import modelled_bytes
from results.schema import Evaluation, Phase, Quality, Trace
from results.summary import setup_of, summarize

go = pytest.importorskip("plotly.graph_objects", reason="needs the report extra")

Make = Callable[..., Any]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Outline(HTMLParser):
    """Checks that elements close in order, and collects what a page would fetch."""

    VOID = frozenset({"meta", "link", "br", "img"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [str(v) for k, v in attrs if k in ("src", "href") and not str(v).startswith("data:")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def traced(trial: Make, **changes: Any) -> Any:
    traces = [
        Trace(quantity="rss_bytes", source="kernel", t_s=[0.0, 1.0, 2.0], values=[1e6, 3e6, 2e6]),
        Trace(quantity="power_w", source="rapl/package-0", t_s=[0.0, 1.0], values=[10.0, 20.0]),
    ]
    phases = [Phase(name="setup", start_s=0, end_s=1), Phase(name="train", start_s=1, end_s=2)]
    return trial(traces=traces, phases=phases, **({"quality": evaluated()} | changes))


def evaluated(*accuracies: float) -> Quality:
    points = [
        Evaluation(step=20 * epoch, epoch=epoch, test_accuracy=accuracy, duration_s=0.1)
        for epoch, accuracy in enumerate(accuracies or (0.1, 0.8, 0.9), start=1)
    ]
    return Quality(
        train_loss=[2.3 / epoch for epoch in range(1, 61)],
        test_accuracy=points[-1].test_accuracy,
        test_items=100,
        evaluations=points,
    )


def all_figures(document: Any) -> list[dict[str, Any]]:
    page = report_html([("a.json", document)])
    found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', page, re.S)
    assert found is not None
    figures_of_page: list[dict[str, Any]] = json.loads(found[1])
    return figures_of_page


def test_the_page_is_whole_small_and_fetches_nothing(document: Make, trial: Make, failed: Make) -> None:
    page = report_html([("a.json", document([traced(trial), failed()])), ("b.json", document())])
    outline = Outline()
    outline.feed(page)
    assert outline.open == []
    assert outline.fetched == []
    assert "default-src 'none'" in page
    assert len(page.encode()) < MAX_BYTES
    body = page[: page.index('id="figures"')]
    assert body.count('class="plot"') == 9
    assert "killed at the ceiling of 64 MiB" in body


def test_every_figure_is_one_that_plotly_knows(document: Make, trial: Make) -> None:
    found = all_figures(document([traced(trial), trial("lowmem")]))
    assert [figure["id"] for figure in found] == [f"figure-{i}" for i in range(1, 7)]
    for figure in found:
        go.Figure({"data": figure["data"], "layout": figure["layout"]})


def test_memory_bars_add_up_to_what_was_measured(document: Make, trial: Make) -> None:
    ((setup, rows),) = summarize(document([trial(peak=90 * 2**20)])).items()
    figure = figures.memory_figure(setup, rows)
    assert figure is not None
    labels = figure["data"][0]["y"]
    assert labels == ["standard, measured", "standard, model", "standard, paper"]
    sums = [sum(part["x"][i] for part in figure["data"]) for i in range(3)]
    assert sums == pytest.approx([90.0, 10_027_200 / 2**20, 7.41])


def test_the_papers_model_stands_beside_ours(trial: Make) -> None:
    setup = setup_of(trial(workload="binarynet-cifar10"))
    standard, lowmem = modelled_bytes(setup, "standard"), modelled_bytes(setup, "lowmem")
    assert standard is not None
    assert lowmem is not None
    assert sum(standard.values()) / 2**20 == pytest.approx(512.81, abs=0.01)
    assert sum(lowmem.values()) / 2**20 == pytest.approx(138.15, abs=0.02)
    assert modelled_bytes(setup, "lean") is None
    assert modelled_bytes(setup._replace(batch_size=7), "lowmem") is None
    assert modelled_bytes(setup._replace(accumulate=4), "lowmem") is None


def test_what_was_not_measured_has_no_figure(document: Make, failed: Make) -> None:
    assert all_figures(document([failed()])) == []
    assert all_figures(document([])) == []


def test_a_loss_that_was_not_finite_is_a_gap(document: Make, trial: Make) -> None:
    quality = Quality(train_loss=[2.0, None, 1.0], test_accuracy=0.5, test_items=10)
    loss = next(
        f for f in all_figures(document([trial(quality=quality)])) if "scatter" in f["data"][0]["type"]
    )
    assert loss["data"][0]["y"] == [2.0, None, 1.0]


def test_nothing_in_a_document_becomes_markup(document: Make, failed: Make, trial: Make) -> None:
    evil = "</script><script>alert(1)</script><!-- "
    page = report_html([(evil, document([trial(trainer=evil), failed(reason=evil)]))])
    assert evil not in page
    assert page.count("<script") - report_html([("a", document())]).count("<script") == 0


def test_long_series_are_thinned() -> None:
    values = [float(i) for i in range(100_000)]
    thin = figures.thinned(values)
    assert (len(thin), thin[0], thin[-1]) == (figures.MAX_POINTS, 0.0, 99_999.0)
    assert thin == sorted(thin)
    assert figures.thinned([1.0, 2.0]) == [1.0, 2.0]


def test_accuracy_is_drawn_by_epoch_with_the_loss_beside_it(document: Make, trial: Make) -> None:
    trials = [trial(quality=evaluated()), trial("lowmem", quality=evaluated(0.2, 0.7, 0.85))]
    found = {each["layout"]["yaxis"]["title"]["text"]: each for each in all_figures(document(trials))}
    curve, loss = found["test accuracy (%)"], found["training loss"]
    assert [line["name"] for line in curve["data"]] == ["standard", "lowmem"]
    assert [line["x"] for line in curve["data"]] == [[1, 2, 3]] * 2
    assert curve["data"][1]["y"] == pytest.approx([20, 70, 85])
    assert curve["layout"]["xaxis"]["title"]["text"] == loss["layout"]["xaxis"]["title"]["text"] == "epoch"
    assert loss["data"][0]["x"][-1] == pytest.approx(3), "the last loss is that of the last step"
    page = report_html([("a.json", document(trials))])
    assert "Test accuracy by epoch as a table" in page
    assert "<td>lowmem</td><td>20.0 %</td><td>70.0 %</td><td>85.0 %</td>" in page


def test_losses_of_runs_without_a_curve_stay_by_interval(document: Make, trial: Make) -> None:
    figures = all_figures(document([trial(quality=evaluated()), trial("lowmem")]))
    loss = next(each for each in figures if each["layout"]["yaxis"]["title"]["text"] == "training loss")
    assert loss["layout"]["xaxis"]["title"]["text"] == "logged interval"
    assert loss["data"][1]["x"] == [1, 2, 3]


def test_without_plotly_the_error_names_the_extra(document: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "plotly.offline", None)
    with pytest.raises(ReportError, match=r"pip install 'edge-harness\[report\]'"):
        report_html([("a", document())])


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
def test_a_browser_draws_every_figure_without_an_error(document: Make, trial: Make, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(report_html([("a.json", document([traced(trial), trial("lowmem")]))]), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"]
    profile = [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=8000"]
    command = [str(CHROMIUM), *options, *profile, path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
    assert "CONSOLE" not in done.stderr
    assert 'data-drawn="6"' in done.stdout
    assert done.stdout.count('class="main-svg"') >= 6


def test_traces_are_drawn_under_the_exact_peak_with_their_source_named(document: Make, trial: Make) -> None:
    """A single series has a legend too: which meter it is, and that it is modelled where it is."""
    drawn = traced(trial)
    drawn.traces[1].provenance = "modelled"
    drawn.traces[1].windows = [
        Phase(name="idle", start_s=-2, end_s=-1),
        Phase(name="measured", start_s=0, end_s=1),
    ]
    drawn.traces[0].reader_cpu_share = 0.0012
    page = report_html([("a.json", document([drawn]))])
    assert "looking took 0.12 % of a processor" in page
    assert "rapl/package-0 (modelled)</li>" in page
    assert "exact peak (dotted)</li>" in page
    figures = all_figures(document([drawn]))
    memory = next(each for each in figures if any(line.get("name") == "kernel" for line in each["data"]))
    peak_mib = drawn.memory.peak_rss_bytes / 2**20
    assert memory["data"][1]["y"] == [peak_mib, peak_mib]
    power = next(each for each in figures if "rapl" in str(each["data"][0].get("name")))
    assert [each["text"] for each in power["layout"]["annotations"]] == ["idle", "measured"]
    assert power["layout"]["shapes"][0]["x0"] == -2


def test_a_band_too_narrow_for_its_name_has_none(document: Make, trial: Make) -> None:
    phases = [Phase(name="setup", start_s=0, end_s=0.05), Phase(name="train", start_s=0.05, end_s=2)]
    figures = all_figures(document([msgspec.structs.replace(traced(trial), phases=phases)]))
    memory = next(each for each in figures if any(line.get("name") == "kernel" for line in each["data"]))
    assert [each["text"] for each in memory["layout"]["annotations"]] == ["train"]
    assert len(memory["layout"]["shapes"]) == 2
