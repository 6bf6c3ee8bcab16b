"""From the energy of a window to the row of the document."""

import pytest

from harness.energy_rows import row_of
from power.window import WindowEnergy


def measured(meter, domain, **given):
    """A window of 3 J, 1 J of them idle's."""
    known = {"gross_j": 3.0, "idle_j": 1.0, "net_j": 2.0, "uncertainty_j": 0.1, "rate_hz": 10.0}
    return WindowEnergy(meter, domain, provenance="measured", **known, **given)


@pytest.mark.parametrize(
    ("parent", "apart", "noted"), [("psys", True, "psys"), (None, True, ""), (None, False, None)]
)
def test_a_row_says_which_domain_contains_it(parent, apart, noted):
    """And null where nobody knows: sensors of a board are not added up."""
    row = row_of(measured("rapl", "package-0", parent=parent, apart=apart, duration_s=1.0), 4, 1.0)
    assert (row.parent, row.net_j_per_step) == (noted, 0.5)


def test_a_row_keeps_what_the_meter_is_and_how_it_was_read():
    terms = {"gain_j": 0.04, "idle_j": 0.02}
    window = measured(
        "hwmon",
        "ina219-1",
        covers="what is wired behind ina219 channel 1",
        gross_uncertainty_j=0.2,
        fresh_samples=7,
        longest_gap_s=0.3,
        uncertainty_terms_j=terms,
    )
    row = row_of(window, 4, 1.0, None, {"shunt_ohm": 0.1})
    assert row.covers == "what is wired behind ina219 channel 1"
    assert (row.gross_uncertainty_j, row.fresh_samples, row.longest_gap_s) == (0.2, 7, 0.3)
    assert (row.terms_j, row.settings) == (terms, {"shunt_ohm": 0.1})


def test_no_energy_has_no_number_of_fresh_samples():
    """None were counted; a 0 would say that the meter stood still."""
    row = row_of(WindowEnergy("hwmon", "ina219-1", reason="too short"), 4, 1.0)
    assert (row.fresh_samples, row.longest_gap_s, row.terms_j) == (None, None, {})


@pytest.mark.parametrize(
    ("steps", "window_s", "needed_s", "enough"),
    [
        (40, 2.0, 10.0, 220),  # 200 steps last for 10 s; a tenth more
        (3, 0.5, 0.75, 5),  # 4.95
        (1, 0.25, 0.2, 1),  # 0.88: long enough but for its begin
    ],
)
def test_a_window_too_short_for_its_meter_names_the_steps_that_would_do(steps, window_s, needed_s, enough):
    row = row_of(WindowEnergy("rapl", "psys", reason="it is too short", needed_s=needed_s), steps, window_s)
    assert row.reason == f"it is too short; try: --steps {enough}"
    assert (row.gross_j, row.net_j, row.net_j_per_step, row.provenance) == (None, None, None, "unavailable")


def test_what_more_steps_would_not_mend_asks_for_none():
    assert (
        row_of(WindowEnergy("rapl", "psys", reason="it was unplugged"), 4, 1.0).reason == "it was unplugged"
    )
