"""From documents that pretended engines gave to exit codes: `check`, `baseline`, `compare`, `report`."""

import os
import xml.etree.ElementTree as ET

import msgspec
import pytest

from harness import plan as planning
from harness import runner
from harness.display import Quiet
from results import store
from workloads import recipes

MIB = 1 << 20
METRIC = ("--metric", "training_peak_bytes")


def test_the_same_program_passes_and_says_so(recorded, measure, harness_main, tmp_path):
    ended = harness_main("check", measure("again.json"), "--junit", "gate.xml", "--markdown", "gate.md")
    assert ended.status == 0, ended.out
    assert "passed" in ended.out
    assert "baselines/host.toml" in ended.out
    suite = ET.parse(tmp_path / "gate.xml").getroot()[0]
    assert suite.get("failures") == suite.get("errors") == "0"
    assert int(suite.get("tests")) >= 2
    assert "passed" in (tmp_path / "gate.md").read_text()


def test_outputs_make_their_folders_and_hide_no_verdict(recorded, measure, harness_main, tmp_path):
    assert harness_main("check", recorded, "--junit", "reports/new/gate.xml").status == 0
    assert ET.parse(tmp_path / "reports" / "new" / "gate.xml").getroot()[0].get("failures") == "0"
    (tmp_path / "file").write_text("in the way")
    for name, status in (("again.json", 1), ("grown.json", 4)):
        path = measure(name, **({"item_bytes": 20 << 10} if status == 4 else {}))
        ended = harness_main("check", path, "--junit", "file/gate.xml", "--markdown", f"{name}.md")
        assert (ended.status, "cannot write 'file/gate.xml'" in ended.err) == (status, True), ended.err
        assert "training_peak_bytes" in ended.out
        assert (tmp_path / f"{name}.md").read_text().startswith("**passed" if status == 1 else "**")


def test_memory_that_grew_exits_4_and_names_the_variable(recorded, measure, harness_main, tmp_path):
    """Every item of a batch of 100 takes 20 KiB more, as if an activation were kept in float32."""
    ended = harness_main("check", measure("after.json", item_bytes=20 << 10), "--junit", "gate.xml")
    assert ended.status == 4, ended.out
    assert "X grew most" in ended.out
    assert "training_peak_bytes" in ended.out
    suite = ET.parse(tmp_path / "gate.xml").getroot()[0]
    assert int(suite.get("failures")) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("check", "a.json", "--junit", "-", "--markdown", "-"), "--markdown -: --junit goes there too"),
        (("check", "a.json", "--junit", "-", "--markdown", "/dev/stdout"), "--junit goes there too"),
        (("check", "a.json", "--junit", "x", "--markdown", "./x"), "--markdown ./x: --junit goes there too"),
        (("check", "a.json", "--junit", "a.json"), "--junit a.json: that is read, and would be lost"),
        (("report", "a.json", "-o", "./a.json"), "-o ./a.json: that is read, and would be lost"),
        (("energy", "import", "t.csv", "a.json", "--json", "t.csv"), "that is read, and would be lost"),
    ],
)
def test_two_documents_in_one_place_are_none(measure, harness_main, tmp_path, monkeypatch, arguments, words):
    before = measure("a.json").read_bytes()
    (tmp_path / "t.csv").write_text("t,p\n")
    ended = harness_main(*arguments)
    assert (ended.status, ended.out, words in ended.err) == (2, "", True), ended.err
    assert ((tmp_path / "a.json").read_bytes(), (tmp_path / "x").exists()) == (before, False)


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.timeout(300)
def test_an_activation_kept_in_float32_exits_4_and_names_x(tmp_path, monkeypatch, harness_main):
    """torch, with a low-memory recipe in which someone keeps X as float32 again; native: `test_planted_regression`."""
    monkeypatch.chdir(tmp_path)

    def measure(name, repeats):
        options = planning.Options(
            trainers=("lowmem",), batch_size=1000, steps=1, warmup=1, repeats=repeats, meters=("none",),
            allocator="pinned", engine="torch", test_items=100,
        )  # fmt: skip
        store.write(runner.run(planning.build(options), Quiet(), lambda document: None), tmp_path / name)

    measure("before.json", 3)
    assert harness_main("baseline", "update", "before.json", "--reason", "as designed", *METRIC).status == 0
    planted = recipes.LOWMEM._replace(activation="float32", ste_mask="derived", norm="l1")
    monkeypatch.setitem(recipes.RECIPES, "lowmem", planted)
    measure("after.json", 1)
    ended = harness_main("check", "after.json")
    assert ended.status == 4, ended.out
    assert "training_peak_bytes" in ended.out
    assert "X grew most" in ended.out


def test_a_ceiling_below_need_exits_3(recorded, measure, harness_main, tmp_path):
    path = tmp_path / "baselines" / "host.toml"
    text = path.read_text()
    line = next(each for each in text.splitlines() if each.startswith("value = "))  # the first peak's
    path.write_text(text.replace(line, f"{line}\nceiling = {8 * MIB}  # promised", 1))
    ended = harness_main("check", measure("after.json", item_bytes=20 << 10))  # it has regressed as well
    assert ended.status == 3, ended.out
    assert "ceiling broken" in ended.out


def test_a_trial_that_ran_out_of_memory_exits_3_even_without_a_baseline(
    make_plan, harness_main, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    plan = make_plan({"hold_bytes": 300 * MIB}, ceiling_bytes=100 * MIB, mechanism="watchdog")
    store.write(runner.run(plan, Quiet(), lambda document: None), tmp_path / "a.json")
    ended = harness_main("check", "a.json")
    assert ended.status == 3, ended.out
    assert "no 'baselines/host.toml'" in ended.out


def test_another_machine_exits_5_and_says_what_differs(recorded, harness_main, tmp_path):
    document = store.read(recorded)
    document.host.cpu = "Another CPU"
    store.write(document, tmp_path / "elsewhere.json")
    ended = harness_main("check", "elsewhere.json")
    assert ended.status == 5, ended.out
    assert "Another CPU" in ended.out


def test_a_document_without_a_baseline_exits_5(measure, harness_main):
    path = measure("new.json")
    ended = harness_main("check", path)
    assert ended.status == 5
    assert "no baseline" in ended.out
    ended = harness_main("check", path, "--baseline", "nowhere.toml")
    assert (ended.status, "nowhere.toml" in ended.err) == (5, True)


@pytest.mark.parametrize("beside", [False, True])
def test_a_document_in_which_nothing_was_measured_does_not_pass(recorded, harness_main, tmp_path, beside):
    store.write(msgspec.structs.replace(store.read(recorded), trials=[]), tmp_path / "empty.json")
    ended = harness_main("check", *([recorded] if beside else []), "empty.json")
    assert (ended.status, "'empty.json' holds no trial" in ended.err) == (5, True), ended.err


def test_an_improvement_fails_only_under_strict(recorded, measure, harness_main):
    path = measure("leaner.json", hold_bytes=12 * MIB)
    assert harness_main("check", path).status == 0
    assert harness_main("check", path, "--strict").status == 7


def test_documents_checked_together_are_absent_only_where_none_ran(recorded, harness_main, tmp_path):
    document = store.read(recorded)
    for trainer in ("standard", "lowmem"):
        kept = [trial for trial in document.trials if trial.trainer == trainer]
        store.write(msgspec.structs.replace(document, trials=kept), tmp_path / f"{trainer}.json")
    assert "not run" in harness_main("check", "standard.json").out
    assert "not run" not in harness_main("check", "standard.json", "lowmem.json").out


def test_too_few_repeats_make_no_baseline(measure, harness_main):
    path = measure("a.json")
    document = store.read(path)
    store.write(msgspec.structs.replace(document, trials=document.trials[:2]), path)
    ended = harness_main("baseline", "update", path, "--reason", "hasty")
    assert ended.status == 6
    assert "--repeats 3" in ended.err


def test_a_file_s_name_is_no_markup(measure, harness_main, tmp_path):
    path = measure("[red]a[/red].json")
    assert f"\n{path}\n" in harness_main("show", path, path).out


def test_only_the_metrics_that_are_named_are_recorded(measure, harness_main):
    path = measure("a.json")
    assert harness_main("baseline", "update", path, "--reason", "memory", *METRIC).status == 0
    ended = harness_main("check", path)
    assert (ended.status, ended.out.count("test_accuracy")) == (0, 0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ("--reason", "x", "--metric", "nonsense"),
            "unknown metric 'nonsense'; there is: training_peak_bytes, ",
        ),
        (
            ("--reason", "x", "--metric", "step_s"),
            "metric 'step_s' is not recorded; there is: training_peak_bytes, ",
        ),
        (("--reason", ""), "a baseline needs a reason"),
    ],
)
def test_an_update_asked_for_wrongly_is_a_mistake_of_usage(measure, harness_main, tmp_path, options, words):
    ended = harness_main("baseline", "update", measure("a.json"), *options)
    assert (ended.status, words in ended.err) == (2, True), ended.err
    assert not (tmp_path / "baselines").exists()


def test_a_baseline_is_shown_with_its_reason(recorded, harness_main):
    ended = harness_main("baseline", "show")
    assert ended.status == 0
    assert "first recorded" in ended.out
    assert "training_peak_bytes" in ended.out


def test_compare_says_what_grew_and_refuses_another_machine(recorded, measure, harness_main, tmp_path):
    after = measure("after.json", item_bytes=40 << 10)
    ended = harness_main("compare", recorded, after)
    assert ended.status == 0
    assert "more memory" in ended.out
    document = store.read(after)
    document.host.cpu = "Another CPU"
    store.write(document, after)
    ended = harness_main("compare", recorded, after)
    assert (ended.status, "different machines" in ended.err) == (5, True)


def test_reports_go_where_they_are_sent(recorded, harness_main, tmp_path):
    assert harness_main("report", recorded, "-o", "page.html").status == 0
    assert (tmp_path / "page.html").read_text().startswith("<!DOCTYPE html>")
    assert harness_main("report", recorded).status == 2
    assert "| trainer" in harness_main("report", recorded, "--format", "markdown").out
    lines = harness_main("report", recorded, "--format", "csv").out.splitlines()
    assert len(lines) == 1 + 6
    assert "█" in harness_main("report", recorded, "--format", "terminal").out


def test_a_file_whose_name_is_no_text_is_a_file_all_the_same(recorded, harness_main, tmp_path):
    folder = tmp_path / "odd"
    folder.mkdir()
    odd = folder / os.fsdecode(b"run-\xff.json")
    odd.write_bytes(recorded.read_bytes())
    (folder / os.fsdecode(b"broken-\xfe.json")).write_text("{")
    for _ in range(2):  # the second time from the database
        ended = harness_main("history", folder)
        assert (ended.status, "1 skipped" in ended.out) == (0, True), ended.err
        assert r"skipped broken-\xfe.json" in ended.out
    assert "0 new, 1 known" in ended.out
    for name in ("html", "markdown", "csv", "terminal"):
        ended = harness_main("report", odd, "--format", name, "-o", f"page.{name}")
        assert ended.status == 0, ended.err
    assert r"run-\xff" in (tmp_path / "page.markdown").read_text()
