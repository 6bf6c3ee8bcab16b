"""Two installations in turns: this source tree, and a changed copy of it behind another interpreter."""

import re
import shutil
import stat
import sys
from pathlib import Path

import pytest

from harness import ab, plan, runner, workers
from results import store
from results.fingerprint import software_facts
from workloads.registry import ENGINES

MIB = 1 << 20
ROOT = Path(__file__).parents[2]
FAKES = Path(__file__).parents[1] / "fakes"


@pytest.fixture(scope="module")
def other_python(tmp_path_factory):
    """An interpreter with edge-harness 0.2.0, float16 activations, and an engine that holds 8 MiB more."""
    folder = tmp_path_factory.mktemp("other")
    for package in ("harness", "workloads", "power", "results"):
        ignored = shutil.ignore_patterns("__pycache__", "*.so", "src")
        shutil.copytree(ROOT / package, folder / package, ignore=ignored)
    engine = (FAKES / "pretend_engine.py").read_text()
    (folder / "pretend_engine.py").write_text(engine.replace('"hold_bytes", 0', f'"hold_bytes", {8 * MIB}'))
    change(folder / "harness/__init__.py", '"0.1.0"', '"0.2.0"')
    change(folder / "workloads/recipes.py", 'activation="bit"', 'activation="float16"')
    with (folder / "workloads/registry.py").open("a") as registry:
        registry.write(
            '\nENGINES.clear()\nENGINES["torch"] = Engine("torch", "pretended", "pretend_engine", '
            '("standard", "lowmem"), ("mlp",))\n'
        )
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={folder} exec {sys.executable} "$@"\n')
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    return python


def change(path, old, new):
    text = path.read_text()
    assert text.count(old) >= 1
    path.write_text(text.replace(old, new, 1))


@pytest.fixture
def in_turns(harness_main, make_plan, other_python, tmp_path, monkeypatch):
    """Return a function that runs the pretended engine here and there; the settings of `make_plan` are not used."""
    monkeypatch.chdir(tmp_path)
    program = f"import sys; sys.path.append({str(FAKES)!r}); from harness.worker import main; main()"
    monkeypatch.setattr(
        runner,
        "worker_command",
        lambda python=None: (
            [python, "-P", "-c", workers.WORKER] if python else [sys.executable, "-P", "-c", program]
        ),
    )
    options = (
        "--steps",
        "3",
        "--warmup",
        "1",
        "--meter",
        "none",
        "--allocator",
        "pinned",
        "--engine",
        "torch",
    )

    def run(*arguments):
        return harness_main("run", "--ab", other_python, *options, *arguments)

    return run


def test_two_installations_are_measured_in_turns_and_compared(
    in_turns, harness_main, other_python, monkeypatch
):
    ended = in_turns("--repeats", "3", "--json", "ab.json")
    assert ended.status == 0, ended.err
    assert "more memory" in ended.out
    assert "software differs: harness: 0.1.0 → 0.2.0" in ended.out
    assert re.findall(r"repeat \d, (\w+)\)", ended.err) == ["this", "other"] * 6
    this, other = store.read(Path("ab.json")), store.read(Path("ab-other.json"))
    assert (this.harness.version, other.harness.version) == ("0.1.0", "0.2.0")
    assert {each.settings["interpreter"] for each in this.trials} == {sys.executable}
    assert {each.settings["interpreter"] for each in other.trials} == {str(other_python)}
    assert [(each.trainer, each.repeat) for each in this.trials] == [
        (each.trainer, each.repeat) for each in other.trials
    ]
    for mine, theirs in zip(this.trials, other.trials, strict=True):
        grown = theirs.memory.training_peak_bytes - mine.memory.training_peak_bytes
        assert abs(grown - 8 * MIB) < MIB // 2
    lowmem = [
        next(each for each in document.trials if each.trainer == "lowmem") for document in (this, other)
    ]
    logits = 100 * 10 * 2  # held in float16 by both
    bits, reals = (each.memory.modelled_by_variable["X"] - logits for each in lowmem)
    assert reals == 16 * bits
    compared = harness_main("compare", "ab.json", "ab-other.json")
    assert (compared.status, "more memory" in compared.out) == (0, True)


@pytest.mark.skipif(ENGINES["native"].missing() is not None, reason="the native engine is not installed")
def test_one_and_the_same_installation_differs_in_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    options = plan.Options(engine="native", trainers=("lowmem",), steps=1, warmup=0, repeats=1)
    pair = ab.pair(plan.build(options), sys.executable)
    assert pair.other.harness.native is not None
    assert software_facts(pair.other) == software_facts(pair.this)


@pytest.mark.parametrize("said", [None, {}, {"isa": "avx2"}])
def test_a_core_that_does_not_say_how_it_was_built_is_no_error(said):
    assert ab._native_build({"native": said}) is None


def test_trials_alternate(in_turns):
    ended = in_turns("--repeats", "1", "--trainer", "lowmem", "--quiet", "--json", "ab.json")
    assert ended.status == 0, ended.err
    assert (ended.out, ended.err) == ("", "")
    assert len(store.read(Path("ab.json")).trials) == len(store.read(Path("ab-other.json")).trials) == 1


def test_an_interruption_in_turns_says_what_is_kept(in_turns, monkeypatch):
    run = runner.trials_with

    def one(*arguments):
        yield next(run(*arguments))
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "trials_with", one)
    ended = in_turns("--repeats", "1", "--trainer", "lowmem", "--quiet", "--json", "ab.json")
    assert (ended.status, ended.err) == (1, "interrupted; 1 ended trial kept in ab.json\n")


@pytest.mark.parametrize(
    ("python", "message"),
    [
        ("nowhere/python", "no such program"),
        ("false", "it cannot plan these trials: it said nothing"),
        ("true", "it is no Python with edge-harness"),
        ("echo", "it is no Python with edge-harness"),
    ],
)
def test_an_interpreter_that_cannot_is_named(harness_main, make_plan, tmp_path, monkeypatch, python, message):
    monkeypatch.chdir(tmp_path)
    ended = harness_main("run", "--ab", python, "--steps", "1")
    assert (ended.status, message in ended.err) == (2, True)
    assert not list(tmp_path.glob("runs/*"))


def test_another_question_is_refused(harness_main, in_turns, other_python):
    change(other_python.parent / "workloads/registry.py", '"mnist", 100, 1e-3', '"mnist", 50, 1e-3')
    try:
        ended = in_turns("--repeats", "1")
    finally:
        change(other_python.parent / "workloads/registry.py", '"mnist", 50, 1e-3', '"mnist", 100, 1e-3')
    assert (ended.status, "batch_size is 50 there and 100 here" in ended.err) == (2, True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--worker", "program"), "--ab and --worker program exclude each other"),
        (("--synchronise",), "--ab and --synchronise exclude each other"),
        (("--checkpoint", "kept"), "--ab and --checkpoint exclude each other"),
    ],
)
def test_what_is_not_done_in_turns_is_refused(harness_main, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    ended = harness_main("run", "--ab", "false", *options)
    assert (ended.status, message in ended.err) == (2, True), ended.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("place", ["-", ".", "/"])
def test_two_documents_go_neither_to_standard_output_nor_to_a_folder(in_turns, place):
    ended = in_turns("--json", place)
    assert (ended.status, "two documents" in ended.err) == (2, True)
