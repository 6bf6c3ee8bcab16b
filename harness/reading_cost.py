"""What reading each meter costs this machine, for people and as a document: `harness energy overhead`."""

from collections.abc import Callable, Sequence
from functools import partial

from rich.console import RenderableType
from rich.text import Text

from harness.energy import why_no_meter
from harness.errors import UsageError
from power import registry
from power.overhead import OverheadReport, measure_overhead
from results.format import DASH, last_digit, significant
from results.tables import new_table, titled


def measure(
    names: Sequence[str], seconds: float, rate_hz: float | None, say: Callable[[str], None]
) -> list[OverheadReport]:
    """Read each meter (this machine's own where none is named) for `seconds`, one after the other; `say` what is done.

    Raises UsageError where no meter is named and there is none, UnknownMeterError for a name that is no meter's,
    MeterUnavailableError with the command that mends it for one that cannot be read.
    """
    chosen = list(names) or [name for name in [registry.automatic()] if name]
    if not chosen:
        raise UsageError(f"{why_no_meter()}; or name one with --meter")
    # What no meter is of is told before the first seconds are spent.
    for name in chosen:
        if (absence := registry.make(name).absence) is not None:
            raise UsageError(f"{name} reads nothing ({absence}); name another with --meter")
    reports = []
    for name in chosen:
        say(
            f"reading {name} for {seconds:g} s, and once more with nothing read in between where it counts energy"
        )
        reports.append(measure_overhead(partial(registry.make, name), seconds, rate_hz))
    return reports


def table(reports: Sequence[OverheadReport]) -> RenderableType:
    """Return one row a meter: who read how often, the CPU time, the power that it added or why that is not known."""
    shown = new_table()
    shown.add_column("meter", no_wrap=True)
    shown.add_column("reader", no_wrap=True)
    shown.add_column("reads/s", justify="right", no_wrap=True)
    shown.add_column("% of a core", justify="right", no_wrap=True)
    shown.add_column("adds, W", justify="right", no_wrap=True)
    shown.add_column("note", overflow="fold")
    for each in reports:
        shown.add_row(
            each.meter,
            each.reader,
            significant(each.rate_hz),
            significant(100.0 * each.share, 2),
            _added_w(each),
            Text(each.reason or _judged(each)),
        )
    return titled("what reading costs", shown)


def _added_w(report: OverheadReport) -> str:
    if report.extra_w is None or report.extra_w_uncertainty is None:
        return DASH
    error, decimals = last_digit(report.extra_w_uncertainty)
    return f"{report.extra_w:z.{decimals}f} ±{error}"


def _judged(report: OverheadReport) -> str:
    """Return what a power is worth that may be the meter's own uncertainty."""
    if report.extra_w is None or report.extra_w_uncertainty is None:
        return ""
    return "" if abs(report.extra_w) > report.extra_w_uncertainty else "too little to tell from none"
