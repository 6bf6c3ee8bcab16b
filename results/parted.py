"""A table for any width: where its columns do not fit beside each other, they stand in parts below each other.

Rich would cut what does not fit, and a figure that is cut reads as another figure.
"""

from collections.abc import Iterator, Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Column, Table

_FOLDED = 10
"""To so many characters a column that may be folded can be narrowed before the table is parted."""
_UNBOUNDED = 10_000


class PartedTable(Table):
    """A table that repeats its first columns, those that name a row, in each part.

    Columns that are not `no_wrap` are folded first.
    """

    naming = 1
    """How many columns name a row."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the table whole where it fits, else its parts."""
        whole = self._part(self.columns)
        if len(self.columns) < 2 or _least_width(whole, console, options) <= options.max_width:
            yield from super().__rich_console__(console, options)
            return
        for index, columns in enumerate(self._split(console, options)):
            if index:
                yield ""
            yield self._part(columns)

    def _split(self, console: Console, options: ConsoleOptions) -> Iterator[list[Column]]:
        """Yield the columns of each part: those that name a row, and as many others as fit, at least one."""

        def fits(columns: Sequence[Column]) -> bool:
            return _least_width(self._part(columns), console, options) <= options.max_width

        named = self.naming
        while named > 1 and not all(fits([*self.columns[:named], each]) for each in self.columns[named:]):
            named -= 1
        names, part = self.columns[:named], self.columns[named : named + 1]
        for column in self.columns[named + 1 :]:
            if not fits([*names, *part, column]):
                yield [*names, *part]
                part = []
            part.append(column)
        yield [*names, *part]

    def _part(self, columns: Sequence[Column]) -> Table:
        """Return a plain table of some of the columns, with all rows."""
        part = Table(box=self.box, show_edge=self.show_edge, pad_edge=self.pad_edge, padding=self.padding)
        for column in columns:
            part.add_column(
                column.header,
                justify=column.justify,
                overflow=column.overflow,
                min_width=column.min_width,
                no_wrap=column.no_wrap,
            )
        cells = zip(*(column.cells for column in columns), strict=True)
        for row, line in zip(self.rows, cells, strict=True):
            part.add_row(*line, style=row.style)
        return part


def _least_width(part: Table, console: Console, options: ConsoleOptions) -> int:
    """Return the width below which something of a part would be cut."""
    for column in part.columns:
        if not column.no_wrap:
            column.max_width = max(column.min_width or 0, _FOLDED)
    return Measurement.get(console, options.update_width(_UNBOUNDED), part).maximum
