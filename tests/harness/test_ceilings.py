import os
from pathlib import Path

import pytest

from harness import ceilings
from harness.errors import LimitUnavailableError

MIB = 1 << 20


def described(tmp_path, cgroup, mountinfo):
    (tmp_path / "cgroup").write_text(cgroup)
    (tmp_path / "mountinfo").write_text(mountinfo)
    return dict(ceilings.memory_groups(tmp_path))


def test_cgroup_v2_is_found(tmp_path):
    found = described(
        tmp_path,
        "0::/user.slice/me\n",
        "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
    )
    assert found == {"cgroup-v2": Path("/sys/fs/cgroup/user.slice/me")}


def test_cgroup_v1_is_found_inside_a_container(tmp_path):
    found = described(
        tmp_path,
        "4:memory:/docker/abc\n3:cpu:/docker/abc\n",
        "40 30 0:30 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
        "41 30 0:31 /docker/abc /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n",
    )
    assert found == {"cgroup-v1": Path("/sys/fs/cgroup/memory")}


def test_a_machine_without_control_groups_has_the_watchdog(monkeypatch):
    monkeypatch.setattr(ceilings, "memory_groups", lambda: iter(()))
    assert ceilings.choose(64 * MIB).mechanism == "watchdog"
    with pytest.raises(LimitUnavailableError, match="no ceiling by cgroup-v2: no such control group"):
        ceilings.choose(64 * MIB, "cgroup-v2")


def test_a_group_that_may_not_be_made_falls_back_unless_named(monkeypatch, tmp_path):
    monkeypatch.setattr(ceilings, "memory_groups", lambda: iter([("cgroup-v1", tmp_path / "absent")]))
    assert ceilings.choose(64 * MIB).mechanism == "watchdog"
    with pytest.raises(LimitUnavailableError, match="No such file"):
        ceilings.choose(64 * MIB, "cgroup-v1")


def test_cgroup_v2_needs_its_memory_controller_delegated(monkeypatch, tmp_path):
    (tmp_path / "cgroup.subtree_control").write_text("cpu io\n")
    monkeypatch.setattr(ceilings, "memory_groups", lambda: iter([("cgroup-v2", tmp_path)]))
    with pytest.raises(LimitUnavailableError, match="not enabled"):
        ceilings.choose(64 * MIB, "cgroup-v2")


def test_a_group_left_by_a_harness_that_was_killed_is_passed_over(monkeypatch, tmp_path):
    monkeypatch.setattr(ceilings, "_SERIAL", iter(range(3)))
    left = tmp_path / f"harness-{os.getpid()}-0"
    left.mkdir()
    group = ceilings.ControlGroup("cgroup-v1", tmp_path, 64 * MIB)
    assert Path(group.launch_settings()["cgroup"]).name == f"harness-{os.getpid()}-1"
    assert not list(left.iterdir())


def test_a_real_group_is_limited_and_removed_again():
    groups = dict(ceilings.memory_groups())
    try:
        ceiling = ceilings.choose(64 * MIB, next(iter(groups), "cgroup-v2"))
    except LimitUnavailableError as error:
        pytest.skip(f"this machine lets nobody make a memory control group: {error}")
    folder = Path(ceiling.launch_settings()["cgroup"])
    assert folder.is_dir()
    assert not ceiling.was_hit()
    ceiling.close()
    assert not folder.exists()
