"""The answer against brute force with a pretended engine that holds so much an item, and what a search leaves."""

import json

import msgspec
import pytest

from harness import ceilings, fit, fit_search, runner
from harness import plan as planning
from harness.display import Quiet
from harness.errors import ExitCode, LimitUnavailableError, TrialFailedError, UsageError
from harness.fit_search import Search
from power.meters.mock import MockMeter
from results.fit_document import FitDocument
from results.fit_table import fit_view, sentence

MIB = 1 << 20
ITEM_BYTES = 64 << 10
CEILING_BYTES = 48 * MIB
# Less than a worker has before it trains.
TINY = [
    "fit", "mlp-mnist", "--device", "pi-zero2w", "--ceiling", "4MiB", "--mechanism", "watchdog", "--trainer", "lowmem"
]  # fmt: skip


@pytest.fixture
def pretended(make_plan, monkeypatch):
    """Let every item of a batch take ITEM_BYTES, of which the model of the real network knows nothing."""
    build, settings = planning.build, {"item_bytes": ITEM_BYTES}

    def with_items(options):
        plan = build(options)
        changed = [msgspec.structs.replace(each, settings=each.settings | settings) for each in plan.trials]
        return msgspec.structs.replace(plan, trials=tuple(changed))

    monkeypatch.setattr(planning, "build", with_items)
    return settings


def ask(say=lambda line: None, **given):
    given = {"workload": "mlp-mnist", "device": "pi-zero2w", "ceiling_bytes": CEILING_BYTES} | given
    return fit.answer(fit.question(**given), say)


def require(mechanism):
    try:
        ceilings.choose(CEILING_BYTES, mechanism).close()
    except LimitUnavailableError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("mechanism", ["cgroup-v2", "cgroup-v1", "watchdog"])
def test_fit_agrees_with_brute_force(pretended, mechanism):
    """Every eighth batch size around the answer, each in a worker of its own."""
    require(mechanism)
    document = ask(trainers=("lowmem",), mechanism=mechanism, resolution=8)
    (fitted,) = document.trainers
    assert document.mechanism == mechanism
    assert document.device.emulated

    def fits(batch_size):
        options = planning.Options(
            trainers=("lowmem",), batch_size=batch_size, steps=2, warmup=1, repeats=1, meters=("none",),
            ceiling_bytes=CEILING_BYTES, mechanism=mechanism, allocator="pinned", test_items=batch_size,
        )  # fmt: skip
        (trial,) = runner.trials(planning.build(options), Quiet())
        return trial.outcome == "ok"

    # Peaks of a batch differ by up to 1 MiB, 16 items: what a process holds of its libraries is for the kernel to say.
    around = range(fitted.batch_size - 24, fitted.batch_size + 25, 8)
    brute = max(size for size in around if fits(size))
    assert abs(brute - fitted.batch_size) <= 16
    by_hand = (CEILING_BYTES - fitted.baseline_rss_bytes) / ITEM_BYTES
    assert fitted.batch_size == pytest.approx(by_hand, rel=0.05)
    assert fitted.peak_rss_bytes <= CEILING_BYTES
    assert {each.outcome for each in fitted.attempts} == {"ok", "out_of_memory"}


def test_the_answer_is_a_sentence_a_table_and_a_document(pretended, harness_main, tmp_path):
    arguments = ["fit", "mlp-mnist", "--device", "pi-zero2w", "--ceiling", "48MiB", "--resolution", "64"]
    ended = harness_main(*arguments, "--trainer", "lowmem", "--mechanism", "watchdog", "--json", "-")
    assert ended.status == 0, ended.err
    document = msgspec.json.decode(ended.out, type=FitDocument)
    (fitted,) = document.trainers
    assert sentence(document) == (
        f"On pi-zero2w, emulated, in 48.0 MiB, 'lowmem' trains mlp-mnist up to batch {fitted.batch_size}."
    )
    assert f"up to batch {fitted.batch_size}" in ended.err
    assert ended.err.count("out of memory") >= 1
    assert json.loads(ended.out)["schema"] == "harness.fit"


def test_with_a_meter_the_answer_has_energy_a_sample_with_its_uncertainty(pretended, monkeypatch):
    """The search reads no meter; one more run at the answer is long enough for it."""
    monkeypatch.setattr(fit_search, "_METERED_S", 1.5)
    monkeypatch.setattr(MockMeter, "provenance", "measured")
    pretended["step_s"] = 0.05
    said = []
    given = {
        "meters": ("mock:1W*0.6s+15W*1000s,counter",),
        "idle_s": 0.3,
        "resolution": 128,
        "mechanism": "watchdog",
    }
    document = ask(said.append, trainers=("lowmem",), accumulate=2, **given)
    (fitted,) = document.trainers
    (row,) = fitted.energy
    assert sum("metered" in line for line in said) == 1
    # Its 1.5 s are planned by the steps of the search, which a busy machine slows; a run of the search has 0.1 s.
    assert row.window_s > 0.5
    items = 2 * fitted.batch_size
    assert fitted.sample_s == pytest.approx(fitted.step_s / items)
    assert fitted.net_j_per_sample == pytest.approx(row.net_j_per_step / items)
    assert fitted.uncertainty_j_per_sample == pytest.approx(
        row.uncertainty_j / row.net_j * row.net_j_per_step / items
    )
    assert "a sample)." in sentence(document)
    assert document.accumulate == 2


def test_a_trainer_named_twice_is_searched_for_once():
    assert fit.question(workload="mlp-mnist", trainers=("lowmem", "lowmem")).trainers == ("lowmem",)


def test_where_the_engine_alone_does_not_fit_the_answer_says_so(pretended):
    document = ask(trainers=("lowmem",), ceiling_bytes=4 * MIB, mechanism="watchdog")
    (fitted,) = document.trainers
    assert fitted.batch_size is None
    assert "engine alone" in fitted.reason
    assert "at no batch size" in sentence(document)
    assert fitted.step_s is None


def test_where_no_trainer_fits_the_exit_code_says_so(pretended, harness_main):
    ended = harness_main(*TINY)
    assert ended.status == ExitCode.OUT_OF_MEMORY, ended.err
    assert "at no batch size" in ended.out


def test_where_one_of_two_trainers_fits_that_is_an_answer(pretended, harness_main, monkeypatch):
    run = Search.run

    def only_standard(search):
        fitted = run(search)
        return fitted if fitted.trainer == "lowmem" else msgspec.structs.replace(fitted, batch_size=8)

    monkeypatch.setattr(Search, "run", only_standard)
    ended = harness_main(*TINY, "--trainer", "standard")
    assert ended.status == ExitCode.OK, ended.err
    assert "'lowmem' trains mlp-mnist at no batch size" in " ".join(ended.out.split())


def test_a_device_that_takes_the_whole_training_set(pretended):
    pretended["item_bytes"] = 0
    document = ask(trainers=("lowmem",), ceiling_bytes=256 * MIB, mechanism="watchdog")
    assert document.trainers[0].bound == "data"
    assert document.trainers[0].batch_size == 10_000
    assert "even with the whole training set of 10000" in sentence(document)
    assert fit_view(document)


FIT = (
    "fit",
    "mlp-mnist",
    "--device",
    "pi-zero2w",
    "--ceiling",
    "48MiB",
    "--mechanism",
    "watchdog",
    "--quiet",
)


@pytest.mark.parametrize("error", [TrialFailedError("the second fails"), KeyboardInterrupt()])
def test_what_ends_the_second_search_leaves_the_first(pretended, harness_main, tmp_path, monkeypatch, error):
    search, ended_before = fit_search.Search.run, []

    def once(self):
        if ended_before:
            raise error
        ended_before.append(self)
        return search(self)

    monkeypatch.setattr(fit_search.Search, "run", once)
    ended = harness_main(*FIT, "--resolution", "64", "--json", tmp_path / "new" / "fit.json")
    assert (ended.status, str(error) or "interrupted") == (
        1,
        ended.err.strip().removeprefix("harness: error: "),
    )
    document = msgspec.json.decode((tmp_path / "new" / "fit.json").read_bytes(), type=FitDocument)
    assert [each.trainer for each in document.trainers] == ["standard"]
    assert "'standard' trains mlp-mnist" in ended.out


@pytest.mark.parametrize(
    ("meter", "code", "words"),
    [("rapll", 2, "unknown meter 'rapll'"), ("replay:nowhere.csv", 1, "not usable")],
)
def test_a_meter_that_cannot_be_read_is_said_before_any_search(
    pretended, harness_main, tmp_path, monkeypatch, meter, code, words
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fit_search.Search, "run", lambda self: pytest.fail("it has searched"))
    ended = harness_main(*FIT, "--meter", meter)
    assert (ended.status, words in ended.err) == (code, True), ended.err


def test_an_answer_is_kept_before_its_metered_run(pretended, harness_main, tmp_path, monkeypatch):
    def fails(self, fitted):
        raise TrialFailedError("the metered run fails")

    monkeypatch.setattr(fit_search.Search, "metered", fails)
    options = ("--resolution", "64", "--trainer", "lowmem", "--meter", "mock:1W")
    ended = harness_main(*FIT, *options, "--json", tmp_path / "fit.json")
    assert (ended.status, "the metered run fails" in ended.err) == (1, True), ended.err
    document = msgspec.json.decode((tmp_path / "fit.json").read_bytes(), type=FitDocument)
    assert [each.trainer for each in document.trainers] == ["lowmem"]


def test_a_place_that_cannot_be_written_is_said_before_any_search(
    pretended, harness_main, tmp_path, monkeypatch
):
    monkeypatch.setattr(fit_search.Search, "run", lambda self: pytest.fail("it has searched"))
    (tmp_path / "file").write_text("in the way")
    ended = harness_main(*FIT, "--json", tmp_path / "file" / "fit.json")
    assert (ended.status, "cannot write" in ended.err) == (1, True), ended.err


def test_a_run_that_fails_otherwise_ends_the_search(pretended):
    pretended |= {"fail_at": "forward", "fail_how": "raise"}
    with pytest.raises(TrialFailedError, match="mlp-mnist lowmem at batch 8 failed: RuntimeError"):
        ask(trainers=("lowmem",), mechanism="watchdog")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"ceiling_bytes": 1 << 50}, "cannot be tried on this machine"),
        ({"reserve_bytes": CEILING_BYTES}, "leaves nothing"),
        ({"ceiling_bytes": 0}, "--ceiling must be at least 1, not 0"),
        ({"resolution": 0}, "--resolution must be at least 1"),
    ],
)
def test_questions_that_make_no_sense(given, message):
    with pytest.raises(UsageError, match=message):
        ask(**given)
