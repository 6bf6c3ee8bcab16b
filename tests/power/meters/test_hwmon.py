"""Sensor chips as the kernel shows them: counters before powers before products, the shunt corrected."""

from pathlib import Path

import pytest

from power.errors import MeterReadError, MeterUnavailableError
from power.meters.hwmon import HwmonMeter
from power.sysfs import Attribute


def chip(root: Path, folder: str, **files: object) -> Path:
    path = root / folder
    path.mkdir(parents=True)
    for name, value in files.items():
        (path / name).write_text(f"{value}\n")
    return path


def readings(root: Path, argument: str = "") -> dict[str, float]:
    with HwmonMeter(argument, root) as meter:
        return {sample.domain: sample.value for sample in meter.read()}


def test_the_best_of_a_channel_is_taken(tmp_path: Path) -> None:
    chip(
        tmp_path, "hwmon0", name="ina228", energy1_input=5_000_000, power1_input=7, in1_input=1, curr1_input=1
    )
    chip(
        tmp_path,
        "hwmon1",
        name="ina226",
        power1_input=2_500_000,
        in1_input=5000,
        curr1_input=1,
        update_interval=35,
    )
    chip(tmp_path, "hwmon2", name="pmbus", power1_average=3_000_000, power1_label="pout 1")
    chip(
        tmp_path, "hwmon3", name="ina3221", in1_input=5000, curr1_input=400, in1_label="VDD A", in2_input=3300
    )
    chip(tmp_path, "hwmon4", name="coretemp", temp1_input=40000)
    assert readings(tmp_path) == pytest.approx(
        {"ina228-1": 5.0, "ina226-1": 2.5, "pmbus-pout_1": 3.0, "ina3221-VDD_A": 2.0}
    )
    with HwmonMeter("", tmp_path) as meter:
        kinds = {domain.name: (domain.kind, domain.update_s) for domain in meter.domains}
    assert kinds["ina228-1"][0] == "energy"
    assert kinds["ina226-1"] == ("power", 0.035)


def test_the_power_z_has_its_voltage_at_zero(tmp_path: Path) -> None:
    chip(
        tmp_path, "hwmon0", name="powerz", in0_input=9000, in1_input=11, curr1_input=500, in0_label="VBUS",
        curr1_label="IBUS",
    )  # fmt: skip
    assert readings(tmp_path) == pytest.approx({"powerz-IBUS": 4.5})


def test_the_true_shunt_corrects_and_stands_in_the_record(tmp_path: Path) -> None:
    # An INA219 board with 100 mΩ under a driver that assumes 10 mΩ reads ten times too much.
    chip(tmp_path, "hwmon0", name="ina219", power1_input=25_000_000, shunt_resistor=10_000)
    assert readings(tmp_path) == pytest.approx({"ina219-1": 25.0})
    assert readings(tmp_path, "ina219,shunt=0.1") == pytest.approx({"ina219-1": 2.5})
    with HwmonMeter("ina219,shunt=0.1", tmp_path) as meter:
        assert meter.settings() == {
            "chip": "ina219",
            "shunt_ohm": 0.1,
            "shunt_correction": pytest.approx(0.1),
        }
        assert meter.domains[0].resolution_w == pytest.approx(0.002)  # 20 · 10 µV / 100 mΩ


def test_every_channel_of_an_ina3221_has_a_shunt_of_its_own(tmp_path: Path) -> None:
    values = {f"in{i}_input": 5000 for i in (1, 2, 3)} | {f"curr{i}_input": 1000 for i in (1, 2, 3)}
    shunts = {"shunt1_resistor": 10_000, "shunt2_resistor": 10_000, "shunt3_resistor": 5000}
    chip(tmp_path, "hwmon0", name="ina3221", **values, **shunts)
    assert readings(tmp_path, "ina3221,shunt=0.1") == pytest.approx(
        {"ina3221-1": 0.5, "ina3221-2": 0.5, "ina3221-3": 0.25}
    )
    with HwmonMeter("ina3221,shunt=0.1", tmp_path) as meter:
        assert meter.settings() == {
            "chip": "ina3221",
            "shunt_ohm": 0.1,
            "shunt_correction ina3221-1": pytest.approx(0.1),
            "shunt_correction ina3221-2": pytest.approx(0.1),
            "shunt_correction ina3221-3": pytest.approx(0.05),
        }


def test_a_shunt_that_the_driver_does_not_show_is_stated_beside_the_true_one(tmp_path: Path) -> None:
    chip(tmp_path, "hwmon0", name="ina228", energy1_input=30_000_000)
    assert readings(tmp_path, "ina228,shunt=0.015/0.01") == pytest.approx({"ina228-1": 20.0})
    with HwmonMeter("ina228,shunt=0.015/0.01", tmp_path) as meter:
        assert meter.settings() == {
            "chip": "ina228",
            "shunt_ohm": 0.015,
            "shunt_assumed_ohm": 0.01,
            "shunt_correction": pytest.approx(2 / 3),
        }


def test_a_driver_that_shows_its_shunt_is_not_overruled(tmp_path: Path) -> None:
    chip(tmp_path, "hwmon0", name="ina226", power1_input=1_000_000, shunt_resistor=2000)
    with pytest.raises(MeterUnavailableError, match=r"assumes 0.002 Ω, not 0.01 Ω: say shunt=0.1 alone"):
        HwmonMeter("ina226,shunt=0.1/0.01", tmp_path).open()
    assert readings(tmp_path, "ina226,shunt=0.1/0.002") == pytest.approx({"ina226-1": 0.02})


@pytest.mark.parametrize(
    ("name", "argument", "files", "limit_w"),
    [
        ("ina219", "", {"in1_input": 5000, "shunt_resistor": 10_000}, 0.1),  # 200 µV / 10 mΩ · 5 V
        ("ina219", "ina219,shunt=0.1", {"in1_input": 5000, "shunt_resistor": 10_000}, 0.01),
        ("ina226", "", {"in1_input": 12_000, "shunt_resistor": 2000}, 0.06),
        ("ina226", "", {"shunt_resistor": 2000}, 0.025),  # no voltage is shown: 5 V
        ("ina260", "", {"in1_input": 5000}, 0.025),
        ("ina238", "", {"in1_input": 5000}, 0.01),  # no shunt is shown: 2.5 mΩ
        ("ina3221", "", {"in1_input": 5000, "shunt1_resistor": 5000, "curr1_input": 100}, 0.08),
        ("pmbus", "", {}, 0.0),
    ],
)
def test_the_offset_of_a_chip_becomes_a_power(
    tmp_path: Path, name: str, argument: str, files: dict[str, int], limit_w: float
) -> None:
    chip(tmp_path, "hwmon0", name=name, **{"power1_input": 1_000_000} | files)
    with HwmonMeter(argument, tmp_path) as meter:
        assert meter.domains[0].offset_limit_w == pytest.approx(limit_w)


def test_a_file_that_only_root_may_read_gives_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As root (in a container, say) file modes refuse nothing: the refusal has to be played.
    def refuse(path: str) -> Attribute:
        if path.endswith("energy1_input"):
            raise PermissionError(13, "Permission denied", path)
        return Attribute(path)

    monkeypatch.setattr("power.meters.hwmon.Attribute", refuse)
    file = (
        chip(tmp_path, "hwmon0", name="amd_energy", energy1_label="Esocket0", energy1_input=1)
        / "energy1_input"
    )
    assert str(HwmonMeter("", tmp_path).probe().hint).startswith(f"sudo chmod a+r {file}")
    chip(tmp_path, "hwmon1", name="ina226", power1_input=1_000_000)
    probe = HwmonMeter("", tmp_path).probe()
    assert probe.usable
    assert f"sudo chmod a+r {file}" in str(probe.reason)


def test_the_rails_of_a_jetson_lie_inside_its_input(tmp_path: Path) -> None:
    files = {"in1_label": "VDD_IN", "in2_label": "VDD_CPU_GPU_CV", "in3_label": "VDD_SOC"}
    values = {f"in{i}_input": 5000 for i in (1, 2, 3)} | {f"curr{i}_input": 100 * i for i in (1, 2, 3)}
    chip(tmp_path, "hwmon0", name="ina3221", **files, **values)
    with HwmonMeter("", tmp_path) as meter:
        assert {d.name: d.parent for d in meter.domains} == {
            "ina3221-VDD_IN": None,
            "ina3221-VDD_CPU_GPU_CV": "ina3221-VDD_IN",
            "ina3221-VDD_SOC": "ina3221-VDD_IN",
        }
        assert not any(domain.apart for domain in meter.domains)  # another chip may feed this one


def test_the_sums_and_shunt_voltages_of_an_ina3221_are_no_channel(tmp_path: Path) -> None:
    # ina3221.rst: in4 to in6 are the shunts' voltages in µV, curr4 and in7 sums: channel 4 would read 28.8 W.
    values = {f"in{i}_input": 5000 for i in (1, 2, 3)} | {f"curr{i}_input": 1000 for i in (1, 2, 3)}
    sums = {"in4_input": 9600, "in5_input": 9600, "in6_input": 9600, "in7_input": 28_800, "curr4_input": 3000}
    chip(tmp_path, "hwmon0", name="ina3221", **values, **sums, in7_label="sum of shunt voltages")
    assert readings(tmp_path) == pytest.approx(dict.fromkeys(("ina3221-1", "ina3221-2", "ina3221-3"), 5.0))


def test_two_chips_of_a_kind_keep_apart_and_one_can_be_chosen(tmp_path: Path) -> None:
    chip(tmp_path, "hwmon2", name="ina226", power1_input=1_000_000)
    chip(tmp_path, "hwmon10", name="ina226", power1_input=2_000_000)
    chip(tmp_path, "hwmon3", name="ina219", power1_input=3_000_000)
    assert readings(tmp_path, "ina226") == pytest.approx({"ina226-1@hwmon2": 1.0, "ina226-1@hwmon10": 2.0})


def test_the_cores_of_amd_energy_are_inside_its_sockets(tmp_path: Path) -> None:
    files = {
        "energy1_label": "Ecore000",
        "energy1_input": 1,
        "energy2_label": "Esocket0",
        "energy2_input": 4_000_000,
    }
    chip(tmp_path, "hwmon0", name="amd_energy", **files)
    assert readings(tmp_path) == pytest.approx({"amd_energy-Esocket0": 4.0})


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("ina999", "no chip named 'ina999'"),
        ("ina226,shunt=0", "above 0"),
        ("ina226,shunt=ten", "could not convert"),
        ("ina226,shunt=0.1/0", "above 0"),
        ("ina226,ohm=1", "no option 'ohm'"),
        ("ina226,shunt=0.1", "has no shunt_resistor"),
    ],
)
def test_what_cannot_be_done_is_said(tmp_path: Path, argument: str, message: str) -> None:
    chip(tmp_path, "hwmon0", name="ina226", power1_input=1_000_000)
    with pytest.raises(MeterUnavailableError, match=message):
        HwmonMeter(argument, tmp_path).open()


@pytest.mark.parametrize("card", ["amdgpu", "i915", "nouveau", "xe"])
def test_a_graphics_card_is_read_where_it_is_named_only(tmp_path: Path, card: str) -> None:
    chip(tmp_path, "hwmon0", name=card, power1_average=40_000_000, power1_label="PPT")
    assert not HwmonMeter("", tmp_path).probe().usable
    assert readings(tmp_path, card) == pytest.approx({f"{card}-PPT": 40.0})
    chip(tmp_path, "hwmon1", name="ina226", power1_input=1_000_000)
    assert readings(tmp_path) == pytest.approx({"ina226-1": 1.0})


def test_no_chip_proposes_an_overlay(tmp_path: Path) -> None:
    assert "dtoverlay" in str(HwmonMeter("", tmp_path).probe().hint)


def test_a_chip_that_is_unplugged_is_a_failed_reading(tmp_path: Path) -> None:
    path = chip(tmp_path, "hwmon0", name="powerz", in0_input=9000, curr1_input=500)
    with HwmonMeter("", tmp_path) as meter:
        (path / "curr1_input").unlink()
        with pytest.raises(MeterReadError, match="No such file"):
            meter.read()


def unreadable(path: Path) -> None:
    """Have a value fail as a driver would: it is there and gives an error (EISDIR stands for ENODATA)."""
    path.unlink()
    path.mkdir()


def test_a_channel_that_cannot_be_read_is_left_out_and_named(tmp_path: Path) -> None:
    path = chip(
        tmp_path, "hwmon0", name="ina3221", in1_input=5000, curr1_input=400, in2_input=5000, curr2_input=1
    )
    chip(tmp_path, "hwmon1", name="ina226", power1_input="")
    unreadable(path / "curr2_input")
    before = len(list(Path("/proc/self/fd").iterdir()))
    probe = HwmonMeter("", tmp_path).probe()
    assert [domain.name for domain in probe.domains] == ["ina3221-1"]
    assert str(probe.reason).startswith("left out: ina3221-2 ([Errno 21] Is a directory")
    assert "ina226-1 (invalid literal" in str(probe.reason)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert readings(tmp_path) == pytest.approx({"ina3221-1": 2.0})
    with pytest.raises(MeterUnavailableError, match="invalid literal"):
        HwmonMeter("ina226", tmp_path).open()


def test_a_meter_whose_channels_all_answer_leaves_none_out(tmp_path: Path) -> None:
    chip(tmp_path, "hwmon0", name="ina226", power1_input=1_000_000)
    assert HwmonMeter("", tmp_path).probe().reason is None


def test_a_rail_is_not_inside_an_input_that_was_left_out(tmp_path: Path) -> None:
    files = {"in1_label": "VDD_IN", "in2_label": "VDD_SOC", "in1_input": 5000, "in2_input": 5000}
    path = chip(tmp_path, "hwmon0", name="ina3221", curr1_input=1, curr2_input=100, **files)
    unreadable(path / "curr1_input")
    with HwmonMeter("", tmp_path) as meter:
        assert [(d.name, d.parent) for d in meter.domains] == [("ina3221-VDD_SOC", None)]


def test_a_channel_that_failed_is_missed_when_the_meter_is_opened_again(tmp_path: Path) -> None:
    path = chip(
        tmp_path, "hwmon0", name="ina3221", in1_input=5000, curr1_input=400, in2_input=5000, curr2_input=1
    )
    meter = HwmonMeter("", tmp_path)
    meter.open()
    meter.close()
    unreadable(path / "curr2_input")
    with pytest.raises(MeterUnavailableError, match="Is a directory"):
        meter.open()
