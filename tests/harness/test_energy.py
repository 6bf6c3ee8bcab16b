"""From a window's energy to the row of the document."""

import pytest

from harness.energy import row_of
from power.window import WindowEnergy


@pytest.mark.parametrize(
    ("parent", "apart", "noted"), [("psys", True, "psys"), (None, True, ""), (None, False, None)]
)
def test_a_row_says_which_domain_contains_it(parent, apart, noted):
    """And null where nobody knows: sensors of a board are not added up."""
    measured = WindowEnergy(
        "rapl",
        "package-0",
        gross_j=3.0,
        idle_j=1.0,
        net_j=2.0,
        uncertainty_j=0.1,
        rate_hz=10.0,
        provenance="measured",
        parent=parent,
        apart=apart,
        duration_s=1.0,
    )
    row = row_of(measured, 4, 1.0)
    assert (row.parent, row.net_j_per_step) == (noted, 0.5)
