"""`harness run --plans`: what no plan can say is refused, and so is a folder that cannot be made."""

import pytest


@pytest.mark.parametrize(
    "option",
    [
        ("--ab", "python3"),
        ("--json", "a.json"),
        ("--synchronise",),
        ("--meter", "none"),
        ("--captures", "captures"),
        ("--ceiling", "1GiB"),
        ("--emulate", "--device", "pi3b+"),
        ("--mechanism", "watchdog"),
        ("--allocator", "pinned"),
        ("--trigger-pin", 0),
        ("--accelerator", "cuda"),
    ],
)
def test_plans_say_what_they_do_not_know(harness_main, tmp_path, option):
    ended = harness_main("run", "--plans", tmp_path / "plans", *option)
    assert (ended.status, f"--plans runs nothing and does not know {option[0]};" in ended.err) == (2, True)
    assert not list(tmp_path.iterdir())


def test_plans_need_a_folder_that_can_be_made(harness_main, tmp_path, monkeypatch):
    from workloads.engines.native import program
    from workloads.registry import Engine

    monkeypatch.setattr(program, "missing", lambda: None)
    monkeypatch.setattr(Engine, "missing", lambda _: None)
    (tmp_path / "file").write_text("")
    ended = harness_main("run", "--plans", tmp_path / "file", "--trainer", "lowmem", "--engine", "native")
    assert (
        ended.status,
        f"'{tmp_path / 'file'}' is a file, not a folder; name a folder that can be made" in ended.err,
    ) == (2, True), ended.err
