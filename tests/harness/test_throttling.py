"""A device that slows itself down: seen before, in the middle and after, by every road the word can take."""

import os

import pytest

from harness import host, runner, throttling
from harness.collector import Collector
from harness.display import Quiet
from harness.errors import ExitCode
from harness.messages import Peak, PhaseBegun
from harness.outcomes import verdict
from harness.supervisor import Ending
from harness.trial import assemble
from results import schema, store, tables
from results.notes import notes_of
from results.summary import summarize


@pytest.fixture
def firmware(monkeypatch, tmp_path):
    """Return the firmware driver's file on a machine that has no other word of throttling."""
    file = tmp_path / "platform" / "soc" / "soc:firmware" / "get_throttled"
    file.parent.mkdir(parents=True)
    monkeypatch.setattr(throttling, "PLATFORM", tmp_path / "platform")
    monkeypatch.setattr(throttling, "HWMON", tmp_path / "hwmon")
    monkeypatch.setattr(throttling, "_FILE_PERIOD_S", 0.0)
    monkeypatch.setenv("PATH", str(tmp_path))
    return file


class While(Quiet):
    """Sets the word while the second trial trains, and back before it ends."""

    def __init__(self, file, during, after):
        self.file, self.during, self.after, self.trial = file, during, after, None

    def trial_begins(self, index, trial):
        self.trial = index

    def message(self, message, pid):
        if self.trial == 1 and isinstance(message, PhaseBegun) and message.name == "train":
            self.file.write_text(f"{self.during:x}\n")
        if self.trial == 1 and isinstance(message, Peak) and message.phase == "train":
            self.file.write_text(f"{self.after:x}\n")


@pytest.mark.parametrize(
    ("before", "during", "after", "cause"),
    [
        (0x0, 0x0, 0x10000, "under-voltage"),  # seen by its sticky bit alone
        (
            0x50000,
            0x50004,
            0x50000,
            "throttled",
        ),  # the sticky bits were set already: seen in the middle alone
        (0x0, 0x0, 0x8, "soft temperature limit"),
    ],
)
def test_a_device_that_slows_down_in_a_trial_makes_that_trial_invalid(
    make_plan, firmware, before, during, after, cause
):
    firmware.write_text(f"{before:x}\n")
    plan = make_plan(settings={"step_s": 0.1}, meters=("mock:10W,counter",), idle_s=0.3)
    document = runner.run(plan, While(firmware, during, after), lambda document: None)
    good, bad = document.trials
    assert (good.outcome, good.validity.throttled) == ("ok", False)
    assert (bad.outcome, bad.validity.throttled) == ("invalid", True)
    assert f"({cause})" in bad.reason
    assert verdict(document) is ExitCode.INVALID_RUN
    assert bad.time.step_s.median >= 0.1  # what was measured is kept
    (row,) = bad.energy
    assert row.gross_j is not None
    assert row.reason.startswith("invalid: the device slowed itself down")
    assert not good.energy[0].reason
    rows = {row.trainer: row for each in summarize(document).values() for row in each}
    assert rows[bad.trainer].outcome == "invalid"
    assert tables.document_view(document)


class Unwatched:
    """A ceiling that nothing enforced: the worker ended well above it."""

    limit_bytes, mechanism, of_the_host = 1, "cgroup-v2", True


def test_a_throttled_trial_above_its_ceiling_is_out_of_memory(make_plan):
    plan, collector = make_plan().trials[0], Collector()
    for phase in ("import", "train"):
        collector.take(Peak(phase, 0, 1 << 20, 1 << 20, 0, 0))
    trial = assemble(
        plan,
        collector,
        Ending(outcome="invalid", reason="the device slowed itself down"),
        allocator="stock",
        ceiling=Unwatched(),
        energy=[],
        energy_by_phase=[],
        validity=schema.Validity(throttled=True, load=0.0),
        wall_s=1.0,
    )
    assert trial.outcome == "out_of_memory"
    assert "above the ceiling" in trial.reason


def test_sticky_bits_from_before_the_trial_say_nothing_of_it(make_plan, firmware):
    firmware.write_text("50000\n")
    document = runner.run(make_plan(), Quiet(), lambda document: None)
    assert [trial.outcome for trial in document.trials] == ["ok", "ok"]
    assert document.host.reasons.get("throttled") is None


def test_a_machine_without_any_word_says_so(make_plan, firmware):
    document = runner.run(make_plan(), Quiet(), lambda document: None)
    assert [trial.validity.throttled for trial in document.trials] == [None, None]
    assert "no firmware" in document.host.reasons["throttled"]


@pytest.mark.parametrize(
    "node", ["soc/soc:firmware", "soc@107c000000/soc@107c000000:firmware", "soc@107c000000:firmware"]
)
def test_the_word_comes_from_the_node_of_any_board(firmware, monkeypatch, tmp_path, node):
    board = tmp_path / "board"
    folder = board / node
    folder.mkdir(parents=True)
    monkeypatch.setattr(throttling, "PLATFORM", board)
    (folder / "get_throttled").write_text("50005\n")
    assert throttling.word() == 0x50005
    assert throttling.Watch()._period_s < 1.0


def test_the_word_comes_from_the_program_where_there_is_no_file(firmware, tmp_path):
    program = tmp_path / "vcgencmd"
    program.write_text('#!/bin/sh\ntest "$1" = get_throttled && echo throttled=0x50005\n')
    program.chmod(0o755)
    assert throttling.word() == 0x50005
    assert throttling.causes(0x50005) == ["under-voltage", "throttled"]
    program.write_text("#!/bin/sh\necho VCHI initialization failed >&2; exit 255\n")
    assert throttling.word() is None


@pytest.mark.parametrize(
    ("words", "causes"),
    [
        ((0x0, 0x0, 0x10000, 0x0, 0x0), ["under-voltage"]),  # the driver cleared what it had told
        ((0x10000, 0x0, 0x10000, 0x0), ["under-voltage"]),  # before the trial, and again in it
        ((0x0, 0x40000, 0x0, 0x2, 0x0), ["frequency capped", "throttled"]),
        ((0x50000, 0x50000, 0x50000, 0x50000), []),  # since boot
        ((0x50000, 0x0, 0x0), []),
        ((0x0, 0x0, 0xF0, 0x0), []),  # no cause that is known
    ],
)
def test_a_bit_of_the_past_counts_when_it_is_new(firmware, words, causes):
    before, *during, after = words
    firmware.write_text(f"{before:x}\n")
    watch = throttling.Watch()
    for each in during:
        firmware.write_text(f"{each:x}\n")
        watch.look()
    firmware.write_text(f"{after:x}\n")
    validity = watch.end()
    assert (validity.throttled, validity.notes) == (bool(causes), causes)


def test_a_look_that_fails_forgets_nothing(firmware):
    firmware.write_text("10000\n")
    watch = throttling.Watch()
    firmware.unlink()
    watch.look()
    firmware.write_text("10000\n")
    assert watch.end().throttled is False


class Machine(Quiet):
    """A described governor, thermal zones and load; what a trial changes is set when it begins to train."""

    def __init__(self, monkeypatch, tmp_path):
        self.governor, self.thermal, self.load = tmp_path / "scaling_governor", tmp_path / "thermal", 0.25
        for zone in range(2):
            (self.thermal / f"thermal_zone{zone}").mkdir(parents=True)
        monkeypatch.setattr(host, "_GOVERNOR", self.governor)
        monkeypatch.setattr(host, "_THERMAL", self.thermal)
        monkeypatch.setattr(os, "getloadavg", lambda: (self.load, 0.0, 0.0))
        self.changes, self.trial = {}, None

    def is_at(self, governor, *temperatures, load=0.25):
        self.governor.write_text(f"{governor}\n")
        for zone, temperature in enumerate(temperatures):
            (self.thermal / f"thermal_zone{zone}" / "temp").write_text(f"{round(temperature * 1000)}\n")
        self.load = load

    def trial_begins(self, index, trial):
        self.trial = index

    def message(self, message, pid):
        if isinstance(message, PhaseBegun) and message.name == "train" and self.trial in self.changes:
            self.is_at(*self.changes[self.trial], load=1.75)


@pytest.fixture
def machine(monkeypatch, tmp_path, firmware):
    return Machine(monkeypatch, tmp_path)


def governor_notes(trial):
    return [note for note in trial.validity.notes if "governor" in note]


def test_governor_temperature_and_load_before_and_after_stand_in_the_document(make_plan, machine):
    machine.is_at("performance", 41.0, 48.0)
    machine.changes = {0: ("powersave", 71.5, 50.0)}
    document = runner.run(make_plan(), machine, lambda document: None)
    known = document.host
    assert (known.governor, known.temperature_c, known.load_before) == ("performance", 48.0, 0.25)
    changed, later = document.trials
    found = changed.validity
    assert (found.temperature_before_c, found.temperature_after_c) == (48.0, 71.5)  # the hottest zone's
    assert (found.load, found.load_after) == (0.25, 1.75)
    assert governor_notes(changed) == ["the governor changed from 'performance' to 'powersave' in the trial"]
    # The next one is wholly governed otherwise than the document says of the machine.
    found = later.validity
    assert (found.temperature_before_c, found.load, found.load_after) == (71.5, 1.75, 1.75)
    assert governor_notes(later) == [
        "the governor was 'performance' when the run began, and 'powersave' here"
    ]
    assert [trial.outcome for trial in (changed, later)] == ["ok", "ok"]
    told = notes_of(document)
    assert any(line.endswith("validity: " + governor_notes(changed)[0]) for line in told)
    assert any(line.endswith("validity: " + governor_notes(later)[0]) for line in told)
    assert store.loads(store.dumps(document)) == document


def test_a_machine_without_governor_and_thermal_zone_says_so_and_notes_no_change(make_plan, machine):
    document = runner.run(make_plan(trainers=("lowmem",)), Quiet(), lambda document: None)
    known, (trial,) = document.host, document.trials
    assert (known.governor, known.temperature_c) == (None, None)
    assert known.reasons["governor"] == "this machine has no cpufreq"
    assert known.reasons["temperature_c"] == "no thermal zone names the processor"
    found = trial.validity
    assert (found.temperature_before_c, found.temperature_after_c, governor_notes(trial)) == (None, None, [])


@pytest.mark.parametrize("options", [(), ("--quiet",)])
def test_an_invalid_run_exits_6_and_says_why(make_plan, firmware, harness_main, tmp_path, options):
    firmware.write_text("4\n")
    small = ("--repeats", 1, "--steps", 2, "--warmup", 1, "--meter", "none", "--trainer", "lowmem")
    ended = harness_main("run", *small, "--test-items", 10, "--json", tmp_path / "a.json", *options)
    assert ended.status == ExitCode.INVALID_RUN == 6
    told = " ".join((ended.out + ended.err).split())
    why = "the device slowed itself down during the run (throttled): cool the device, or let it rest"
    assert why in told
    (trial,) = store.read(tmp_path / "a.json").trials
    assert trial.outcome == "invalid"
    assert trial.reason.startswith(why)


def driver(tmp_path, alarm):
    """Describe the kernel's own watch, beside another chip."""
    for index, (name, value) in enumerate({"cpu_thermal": None, "rpi_volt": alarm}.items()):
        chip = tmp_path / "hwmon" / f"hwmon{index}"
        chip.mkdir(parents=True)
        (chip / "name").write_text(f"{name}\n")
        if value is not None:
            (chip / "in0_lcrit_alarm").write_text(f"{value}\n")


def test_what_holds_for_two_seconds_is_looked_at_more_often(firmware, tmp_path):
    assert throttling.Watch()._period_s > 2.0  # the program alone, whose bits stay
    driver(tmp_path, alarm=0)
    assert throttling.Watch()._period_s < 2.0


def test_the_kernels_own_alarm_tells_under_voltage(firmware, tmp_path):
    driver(tmp_path, alarm=1)
    assert throttling.causes(throttling.word()) == ["under-voltage"]


def test_the_reason_names_the_causes_and_what_mends_each_once():
    spoilt = schema.Validity(throttled=True, load=0.0, notes=["frequency capped", "throttled", "a note"])
    why = throttling.why_invalid(spoilt)
    assert "(frequency capped, throttled)" in why
    assert "stronger power supply" in why
    assert throttling.why_invalid(schema.Validity(throttled=None, load=0.0)) is None
