"""What `harness doctor` shows: one screen of what works and what a command mends, or with `--all` every finding.

Each row has `name`, `usable` (bool), `reason` (why not, or what was found) and `hint` (the command that mends it, or
None); `domains`, where given, are listed for what works.
"""

from collections.abc import Iterable, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from results import format as fmt
from results.tables import add_row, new_table, titled

Row = Mapping[str, object]


def screen(
    works: Mapping[str, Sequence[Row]], mendable: Sequence[Row], places: Sequence[str], absent: Sequence[str]
) -> RenderableType:
    """Return what a person needs, on one screen.

    `works` are the rows of each kind that do; `mendable` those that do not and are shown in full; `places` the meters
    that need one, as `--meter` takes them; `absent` the names of the rest.
    """
    parts: list[RenderableType] = [_works(works), Text()]
    if mendable:
        parts.append(titled("does not work", _table(("name", "what was found"), mendable, works=False)))
    if places:
        parts.append(_line("need a place, named with --meter", places))
    if absent:
        parts.append(_line("not here", absent))
    parts.append(
        Text("`harness doctor --all` says of each why, and how it is got; --fix gives the commands alone.")
    )
    return Group(*parts)


def doctor_table(title: str, rows: Iterable[Row]) -> RenderableType:
    """Return one kind of findings in full."""
    return titled(title, _table(("name", "works", "what was found"), rows, works=True))


def _works(works: Mapping[str, Sequence[Row]]) -> Table:
    """Return one line a kind; of what works only a meter has more to say than its name."""
    table = new_table()
    table.add_column("", no_wrap=True)
    table.add_column("what works", overflow="fold")
    for kind, rows in works.items():
        said = [_with_domains(row) for row in rows]
        add_row(
            table, kind, ("\n" if any(row.get("domains") for row in rows) else ", ").join(said) or fmt.DASH
        )
    return table


def _with_domains(row: Row) -> str:
    """Return a name, and of a meter what it measures and what of it was left out."""
    domains = _domains(row)
    if domains in ([], [row["name"]]):
        return str(row["name"])
    left_out = f"; {row['reason']}" if row.get("reason") else ""
    return f"{row['name']}: {', '.join(domains)}{left_out}"


def _table(heads: Sequence[str], rows: Iterable[Row], *, works: bool) -> Table:
    table = new_table()
    for head in heads[:-1]:
        table.add_column(head, no_wrap=True)
    table.add_column(heads[-1], overflow="fold")
    for row in rows:
        usable = bool(row.get("usable"))
        verdict = [Text("yes" if usable else "no", "green" if usable else "red")] if works else []
        table.add_row(str(row["name"]), *verdict, Text("\n".join(_findings(row))))
    return table


def _findings(row: Row) -> list[str]:
    """Return the lines of a row: domains, reason, and the command that mends it."""
    domains = _domains(row)
    lines = ["domains: " + ", ".join(domains)] if domains else []
    if row.get("reason"):
        lines.append(str(row["reason"]))
    if row.get("hint"):
        lines.append(f"try: {row['hint']}")
    return lines or [fmt.DASH]


def _domains(row: Row) -> list[str]:
    domains = row.get("domains")
    return list(map(str, domains)) if isinstance(domains, Sequence) and not isinstance(domains, str) else []


def _line(title: str, words: Sequence[str]) -> Text:
    return Text.assemble((f"{title}: ", "bold"), ", ".join(words))
