import pytest

from harness import devices
from harness.errors import NotThatDeviceError
from workloads.errors import UnknownNameError

GIB = 1 << 30
# Codes of the Raspberry Pi documentation's table of new-style revision codes.
CODES = [
    (0x902120, "pi-zero2w", GIB // 2),
    (0xA020D3, "pi3b+", 1 * GIB),
    (0xA03111, "pi4", 1 * GIB),
    (0xC03111, "pi4", 4 * GIB),
    (0xD03114, "pi4", 8 * GIB),
    (0xC04170, "pi5", 4 * GIB),
    (0xD04170, "pi5", 8 * GIB),
    (0xA22082, None, 1 * GIB),  # a 3B, which has no profile
]


@pytest.mark.parametrize(("code", "profile", "memory_bytes"), CODES)
def test_revision_codes_name_board_and_memory(code, profile, memory_bytes):
    assert devices.decode_revision(code) == (profile, memory_bytes)


def test_an_old_style_code_says_nothing():
    assert devices.decode_revision(0x000E) == (None, None)


@pytest.fixture
def board(monkeypatch, tmp_path):
    """Describe a Raspberry Pi 4 with 2 GiB in a device tree of its own."""
    (tmp_path / "model").write_bytes(b"Raspberry Pi 4 Model B Rev 1.4\0")
    (tmp_path / "revision").write_bytes((0xB03114).to_bytes(4, "big"))
    monkeypatch.setattr(devices, "_MODEL", tmp_path / "model")
    monkeypatch.setattr(devices, "_REVISION", tmp_path / "revision")


@pytest.mark.usefixtures("board")
def test_a_raspberry_pi_is_recognised_with_its_own_memory():
    for requested in ("auto", "pi", "pi4"):
        profile, found = devices.resolve(requested, emulate=False)
        assert (profile.name, profile.memory_bytes) == ("pi4", 2 * GIB)
        assert found.model == "Raspberry Pi 4 Model B Rev 1.4"


CPUINFO = "processor\t: 0\nCPU revision\t: 4\n\nRevision\t: {}\nSerial\t\t: 00000000deadbeef\n"


@pytest.mark.parametrize(
    ("model", "cpuinfo", "profile", "memory_bytes"),
    [
        ("Raspberry Pi 3 Model B Plus Rev 1.3", CPUINFO.format("a020d3"), "pi3b+", 1 * GIB),
        ("Raspberry Pi 4 Model B Rev 1.4", CPUINFO.format("b03114"), "pi4", 2 * GIB),
        ("Raspberry Pi 3 Model B Plus", "processor\t: 0\nCPU revision\t: 4\n", "pi3b+", None),
        ("Raspberry Pi Zero 2 W Rev 1.0", None, "pi-zero2w", None),
        ("Raspberry Pi 500 Rev 1.0", None, None, None),
    ],
)
def test_without_a_code_in_the_device_tree_cpuinfo_tells_then_the_models_words(
    monkeypatch, tmp_path, model, cpuinfo, profile, memory_bytes
):
    (tmp_path / "model").write_bytes(model.encode() + b"\0")
    if cpuinfo is not None:
        (tmp_path / "cpuinfo").write_text(cpuinfo)
    monkeypatch.setattr(devices, "_MODEL", tmp_path / "model")
    monkeypatch.setattr(devices, "_REVISION", tmp_path / "absent")
    monkeypatch.setattr(devices, "_CPUINFO", tmp_path / "cpuinfo")
    assert devices.detect() == (model, profile, memory_bytes)
    if profile:
        resolved, _ = devices.resolve(profile, emulate=False)
        assert resolved.memory_bytes == (memory_bytes or devices.PROFILES[profile].memory_bytes)


@pytest.mark.usefixtures("board")
def test_a_named_board_that_this_one_is_not_is_refused():
    with pytest.raises(NotThatDeviceError, match="this is a Raspberry Pi 4 Model B"):
        devices.resolve("pi5", emulate=False)


@pytest.mark.parametrize("requested", ["pi", "pi4", "pi-zero2w"])
def test_no_other_machine_passes_for_a_raspberry_pi(monkeypatch, tmp_path, requested):
    monkeypatch.setattr(devices, "_MODEL", tmp_path / "absent")
    with pytest.raises(NotThatDeviceError, match="--emulate"):
        devices.resolve(requested, emulate=False)
    profile, found = devices.resolve(requested, emulate=True)
    assert found is None
    assert profile.memory_bytes


def test_emulating_needs_a_device_to_emulate():
    with pytest.raises(NotThatDeviceError, match="needs a device"):
        devices.resolve("host", emulate=True)


def test_an_unknown_device_names_those_there_are():
    with pytest.raises(UnknownNameError, match=r"pi-zero2w, pi3b\+"):
        devices.resolve("pi9", emulate=False)
