"""Energy of a window with pauses: from series whose truth is known."""

import pytest

from harness import segments
from power.base import Domain
from power.series import Series
from power.window import measure

S = 1_000_000_000


class Recorded:
    """A recorder that has ended: one exact series of power."""

    def __init__(self, power_w, seconds):
        self.series = Series(Domain("all", "power", "all of it", update_s=0.01))
        for tick in range(seconds * 100 + 1):
            self.series.add(tick * S // 100, power_w(tick / 100))

    def energies(self, windows, idle):
        return [[measure(self.series, window, idle, meter="known")] for window in windows]


def test_the_stretches_are_what_lies_outside_the_pauses():
    assert segments.between((0, 100), []) == [(0, 100)]
    assert segments.between((0, 100), [(20, 30), (60, 80)]) == [(0, 20), (30, 60), (80, 100)]
    assert segments.between((0, 100), [(0, 30), (30, 40)]) == [(40, 100)]


def test_what_evaluations_take_is_no_part_of_the_energy():
    """10 W in training, 50 W in two evaluations of 2 s, above 3 W at idle."""
    pauses = [(12 * S, 14 * S), (18 * S, 20 * S)]

    def power_w(t):
        return 3.0 if t < 9 else 50.0 if 11.99 < t < 14.01 or 17.99 < t < 20.01 else 10.0

    recorder = Recorded(power_w, 30)
    idle = ((0, 8 * S), None)
    (row,) = segments.energy(recorder, (10 * S, 26 * S), pauses, idle)
    ((whole,),) = recorder.energies([(10 * S, 26 * S)], idle)
    assert row.duration_s == pytest.approx(12)
    assert row.gross_j == pytest.approx(120, rel=0.02)
    assert row.idle_j == pytest.approx(36, rel=0.01)
    assert row.net_j == pytest.approx(84, rel=0.02)
    spans = segments.between((10 * S, 26 * S), pauses)
    parts = [part for (part,) in recorder.energies(spans, idle)]
    assert 0 < row.uncertainty_j < sum(part.uncertainty_j for part in parts), "their own edges do not add up"
    assert row.uncertainty_terms_j.keys() == parts[0].uncertainty_terms_j.keys()
    assert whole.gross_j == pytest.approx(320, rel=0.02), "which the pauses would have made of it"


def test_a_stretch_that_is_too_short_for_the_meter_is_named():
    recorder = Recorded(lambda t: 10.0, 30)
    (row,) = segments.energy(recorder, (10 * S, 20 * S), [(int(19.5 * S), int(19.8 * S))], (None, None))
    assert (row.gross_j, row.net_j, row.provenance) == (None, None, "unavailable")
    assert row.reason.startswith("stretch 2 of 2 between evaluations: ")
    assert row.reason.endswith("; evaluate less often")
    assert row.needed_s is None, "a longer run would not lengthen it"


def test_without_a_pause_the_window_is_the_meters_own():
    recorder = Recorded(lambda t: 10.0, 30)
    (own,) = recorder.energies([(10 * S, 20 * S)], (None, None))
    assert segments.energy(recorder, (10 * S, 20 * S), [], (None, None)) == own
