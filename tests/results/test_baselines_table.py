from collections.abc import Callable
from pathlib import Path
from typing import Any

from results import baselines, ratchet
from results.baselines_table import baselines_view, changes_view

Make = Callable[..., Any]


def test_the_file_is_shown_with_its_promises_and_reasons(document: Make, tmp_path: Path, shown: Make) -> None:
    path = tmp_path / "host.toml"
    ratchet.update(path, [document()], "first recorded")
    text = path.read_text().replace("value = 41943040", "value = 41943040\nceiling = 50331648", 1)
    path.write_text(text.replace("value = 0.97", "value = 0.97\nfloor = 0.96", 1))
    view = shown(baselines_view(baselines.read(path)))
    assert max(map(len, view.splitlines())) <= 80
    assert "mlp-mnist lowmem torch batch 100" in view
    assert "at most 48.0 MiB" in view
    assert "at least 96.0 %" in view
    assert "first recorded (20" in view
    assert "cpu Test CPU @ 2.0 GHz" in " ".join(view.split())


def test_changes_are_shown(document: Make, trial: Make, tmp_path: Path, shown: Make) -> None:
    path = tmp_path / "host.toml"
    first = shown(changes_view(ratchet.update(path, [document()], "x")))
    assert "new" in first
    smaller = document([trial("lowmem", i, peak=30 * 2**20) for i in range(3)])
    second = shown(changes_view(ratchet.update(path, [smaller], "y")))
    assert "-25.0 %" in second
    assert max(map(len, (first + second).splitlines())) <= 80
