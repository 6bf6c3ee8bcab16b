from collections.abc import Callable
from typing import Any

import pytest

from results.schema import Energy
from results.summary import summarize
from results.tables import notes
from results.whole_energy import measured_energy, whole

Make = Callable[..., Any]


@pytest.fixture
def row(energy: Make) -> Make:
    """A measured row of RAPL by domain, energy a step and what it is inside."""

    def make(domain: str, net_j_per_step: float = 0.1, parent: str | None = "", **changes: Any) -> Energy:
        made: Energy = energy(net_j_per_step, domain=domain, parent=parent, **changes)
        return made

    return make


def test_packages_beside_each_other_are_added_up_and_what_lies_inside_them_is_not(row: Make) -> None:
    rows = [row("package-0", 0.1), row("package-1", 0.2, reason="idle level from one side only")]
    rows += [row("core-0", 0.05, "package-0"), row("dram-0", 0.03), row("usb", 9.0, meter="fnirsi")]
    found = whole(rows)
    assert found is not None
    assert (found.meter, found.domain) == ("rapl", "package-0 + package-1 + dram-0")
    assert found.net_j_per_step == pytest.approx(0.33)
    assert found.net_j == pytest.approx(33.0)
    assert found.uncertainty_j == pytest.approx(1.5), "one meter's gain errs alike in all domains"
    assert found.reason == "idle level from one side only"


def test_a_whole_counts_once_and_its_parts_stand_in_where_it_is_not_known(row: Make) -> None:
    parts = [row("package-0", 0.1, "psys"), row("package-1", 0.2, "psys")]
    psys = row("psys", 0.5)
    assert whole([*parts, psys]) == psys
    unknown = Energy.unavailable("rapl", "psys", "too short a window")
    unknown.parent = ""
    found = whole([unknown, *parts])
    assert found is not None
    assert (found.domain, found.reason) == ("package-0 + package-1", None)


def test_a_domain_that_was_not_measured_is_named(row: Make) -> None:
    missing = Energy.unavailable("rapl", "package-1", "the counter stood still")
    missing.parent = ""
    found = whole([row("package-0"), missing])
    assert found is not None
    assert (found.domain, found.net_j_per_step) == ("package-0", 0.1)
    assert found.reason == "without package-1 (the counter stood still)"


def test_a_document_from_before_gives_the_first_domain(row: Make, trial: Make) -> None:
    first = row("package-0", parent=None)
    assert measured_energy(trial(energy=[first, row("core-0", parent=None)])) == first


def test_what_is_modelled_never_counts(row: Make) -> None:
    assert whole([row("model", provenance="modelled")]) is None
    found = whole([row("model", provenance="modelled"), row("package-0")])
    assert found is not None
    assert found.domain == "package-0"


def test_the_figure_and_the_note_are_of_all_packages(
    row: Make, document: Make, trial: Make, shown: Make
) -> None:
    made = document([trial(energy=[row("package-0", 0.1), row("package-1", 0.2)])])
    ((summary,),) = summarize(made).values()
    assert summary.energy_j_per_step == pytest.approx(0.3)
    assert summary.energy_uncertainty_j_per_step == pytest.approx(0.01)
    assert "measured by rapl (package-0 + package-1)" in " ".join(shown(notes(made)).split())


def test_the_sum_covers_what_its_parts_cover_and_is_read_as_well_as_the_worst_of_them(row: Make) -> None:
    first = row(
        "package-0", covers="one socket", fresh_samples=90, longest_gap_s=0.1, gross_uncertainty_j=1.0
    )
    second = row("dram-0", covers="its memory", fresh_samples=80, longest_gap_s=0.4, gross_uncertainty_j=0.5)
    first.terms_j = {"gain_j": 0.2}
    found = whole([first, second])
    assert found is not None
    assert (found.covers, found.gross_uncertainty_j) == ("one socket; its memory", 1.5)
    assert (found.fresh_samples, found.longest_gap_s, found.terms_j) == (80, 0.4, {})


def test_the_note_says_what_is_covered_and_which_shunt_was_corrected_for(
    row: Make, document: Make, trial: Make, shown: Make
) -> None:
    settings = {"chip": "ina219", "shunt_ohm": 0.1, "shunt_correction": 0.1}
    made = row("ina219-1", parent=None, meter="hwmon", covers="channel 1", settings=settings)
    text = " ".join(shown(notes(document([trial(energy=[made])]))).split())
    assert "measured by hwmon (ina219-1); it covers channel 1; shunt 0.1 Ω, readings × 0.1" in text
