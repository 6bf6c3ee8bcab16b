from collections.abc import Callable
from typing import Any

import pytest

from results.compare import compare, comparison_view, judge
from results.errors import NotComparableError
from results.schema import Quality
from results.stats import Paired
from results.summary import setup_of, setup_title

Make = Callable[..., Any]
MIB = 2**20


def repeated(
    trial: Make, n: int, step_s: float, peak: int, noise: float = 0.002, **changes: Any
) -> list[Any]:
    """n repeats whose step times go up and down by `noise`."""
    return [trial("lowmem", i, step_s * (1 + noise * ((i * 7) % 5 - 2)), peak, **changes) for i in range(n)]


def rows_of(before: Any, after: Any) -> dict[str, Any]:
    return {row.quantity: row for row in compare(before, after).rows}


def test_a_difference_is_put_in_words(document: Make, trial: Make) -> None:
    rows = rows_of(
        document(repeated(trial, 8, 0.010, 90 * MIB)),
        document(list(reversed(repeated(trial, 8, 0.012, 60 * MIB)))),
    )
    assert rows["step time"].effect == "more"
    assert rows["step time"].verdict == "slower: +20.0 % (+20.0 to +20.0)"
    assert rows["peak memory"].verdict == "less memory: -33.3 % (-33.3 to -33.3)"
    assert (rows["peak memory"].before, rows["peak memory"].after) == ("90.0 MiB", "60.0 MiB")
    assert rows["accuracy"].effect == "same"
    assert "energy a step" not in rows


def test_equal_documents_are_the_same(document: Make) -> None:
    comparison = compare(document(), document())
    assert {row.effect for row in comparison.rows} == {"same"}
    assert (comparison.left_out, comparison.software) == ([], [])
    assert {row.paired.n for row in comparison.rows} == {3}


def test_noise_is_no_difference(document: Make, trial: Make) -> None:
    before = document([trial("lowmem", i, s) for i, s in enumerate([0.010, 0.012, 0.011])])
    after = document([trial("lowmem", i, s) for i, s in enumerate([0.012, 0.010, 0.011])])
    row = rows_of(before, after)["step time"]
    assert row.effect == "unclear"
    assert row.verdict.startswith("no difference shown: +0.0 % (-")


def test_one_pair_has_no_verdict(document: Make, trial: Make) -> None:
    row = rows_of(document([trial()]), document([trial(step_s=0.02)]))["step time"]
    assert (row.effect, row.paired.n) == ("unknown", 1)
    assert row.verdict == "+100.0 %; one pair, so no interval and no verdict"


def test_pairs_are_made_by_repeat_number(document: Make, trial: Make) -> None:
    before = document([trial(repeat=i, step_s=s) for i, s in [(0, 1.0), (1, 2.0), (2, 4.0)]])
    after = document([trial(repeat=i, step_s=s) for i, s in [(2, 8.0), (1, 4.0), (5, 9.0)]])
    assert rows_of(before, after)["step time"].paired == Paired(
        pytest.approx(2.0), pytest.approx((2.0, 2.0)), 2, "t"
    )


def test_accuracy_is_compared_in_points(document: Make, trial: Make) -> None:
    def trials(accuracies: list[float]) -> list[Any]:
        return [
            trial(repeat=i, quality=Quality(train_loss=[], test_accuracy=a, test_items=10))
            for i, a in enumerate(accuracies)
        ]

    row = rows_of(document(trials([0.97, 0.971, 0.969])), document(trials([0.94, 0.942, 0.938])))["accuracy"]
    assert row.effect == "less"
    assert row.verdict.startswith("lower: -3.00 points (-")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"settings": {"steps": 6}}, "trained for 60 steps → 6 steps"),
        (
            {"settings": {"steps": 60, "learning_rate": 0.01}},
            "learning_rate: 0.001 → 0.01",
        ),
        ({"quality": Quality(train_loss=[], test_accuracy=0.9, test_items=500)}, "test items: 10000 → 500"),
    ],
)
def test_accuracies_of_different_trainings_are_left_out(
    document: Make, trial: Make, changes: Any, words: str
) -> None:
    comparison = compare(
        document([trial(repeat=i) for i in range(3)]),
        document([trial(repeat=i, **changes) for i in range(3)]),
    )
    assert {row.quantity for row in comparison.rows} == {"step time", "peak memory"}
    (line,) = comparison.left_out
    assert line == f"standard on {setup_title(setup_of(trial()))}: accuracy: {words}"


def test_energy_is_compared_where_measured(document: Make, trial: Make, energy: Make) -> None:
    before = document([trial(repeat=i, energy=[energy(1.0 + i / 100)]) for i in range(3)])
    after = document([trial(repeat=i, energy=[energy(0.5 + i / 200)]) for i in range(3)])
    assert rows_of(before, after)["energy a step"].effect == "less"


def test_another_machine_is_refused(document: Make, host: Make) -> None:
    with pytest.raises(NotComparableError, match=r"different machines \(cores: 2 → 4\)"):
        compare(document(), document(host=host(cores=4)))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"workload": "cnv-cifar10"}, "workload: mlp-mnist and cnv-cifar10"),
        ({"batch_size": 50}, "batch size: 100 and 50"),
        ({"trainer": "lean"}, "trainer: standard and lean"),
        ({"engine": "native"}, "engine: torch and native"),
        ({"settings": {"accumulate": 4}}, "accumulate: 1 and 4"),
    ],
)
def test_what_is_not_comparable_is_refused(document: Make, trial: Make, changes: Any, words: str) -> None:
    with pytest.raises(NotComparableError, match=words):
        compare(document([trial()]), document([trial(**changes)]))


def test_another_allocator_mode_is_refused(document: Make, trial: Make) -> None:
    other = trial()
    other.memory.allocator = "stock"
    with pytest.raises(NotComparableError, match="allocator: pinned and stock"):
        compare(document([trial()]), document([other]))


def test_nothing_finished_is_refused(document: Make, failed: Make, trial: Make) -> None:
    with pytest.raises(NotComparableError, match="second document has no finished trial"):
        compare(document([trial()]), document([failed()]))


def test_what_has_no_partner_is_named(document: Make, trial: Make, failed: Make) -> None:
    comparison = compare(document([trial(), trial("lowmem")]), document([trial(), failed("lowmem")]))
    assert {row.key.trainer for row in comparison.rows} == {"standard"}
    second, first = comparison.left_out
    assert first.endswith("finished in the first document only")
    assert second.endswith("out of memory in the second document")


def test_repeats_without_a_partner_are_named_and_none_at_all_is_refused(document: Make, trial: Make) -> None:
    comparison = compare(document([trial(), trial(repeat=1), trial(repeat=2)]), document([trial()]))
    (line,) = comparison.left_out
    assert line.endswith(": repeat 1, 2 finished in the first document only")
    with pytest.raises(
        NotComparableError, match=r"no pair of figures.*repeat 0 .* first.*repeat 1 .* second"
    ):
        compare(document([trial()]), document([trial(repeat=1)]))


def test_a_quantity_without_a_partner_or_a_ratio_is_named(
    document: Make, trial: Make, energy: Make, shown: Make
) -> None:
    before, after = (
        [trial(repeat=i, energy=[energy()]) for i in range(2)],
        [trial(repeat=i) for i in range(2)],
    )
    (line,) = compare(document(before), document(after)).left_out
    assert line.endswith(": energy a step: on one side only in 2 of 2 pairs")
    both = [energy(parent="", domain=f"package-{i}") for i in range(2)]
    wider = [trial(repeat=i, energy=both) for i in range(2)]
    (line,) = compare(document(before), document(wider)).left_out
    assert line.endswith("measured elsewhere: rapl (package-0) → rapl (package-0 + package-1)")
    below = [trial(repeat=i, energy=[energy(-0.001)]) for i in range(2)]
    comparison = compare(document(before), document(below))
    assert "energy a step" not in {row.quantity for row in comparison.rows}
    assert comparison.left_out[0].endswith(": energy a step: -1.00 mJ has no ratio")
    assert "· left out: standard on" in shown(comparison_view(comparison, "a.json", "b.json"))


@pytest.mark.parametrize(
    ("interval", "effect"),
    [
        ((0.995, 1.004), "same"),
        ((1.001, 1.009), "same"),
        ((1.001, 1.02), "more"),
        ((0.9, 0.99), "less"),
        ((0.98, 1.005), "unclear"),
        (None, "unknown"),
    ],
)
def test_judge(interval: tuple[float, float] | None, effect: str) -> None:
    assert judge(Paired(1.0, interval, 6, "ranks"), 1.0, 0.01) == effect


def test_the_view_fits_and_names_everything(document: Make, trial: Make, host: Make, shown: Make) -> None:
    comparison = compare(document(), document(host=host(libraries={"torch": "2.14.0"})))
    text = shown(comparison_view(comparison, "a.json", "b.json"))
    assert max(map(len, text.splitlines())) <= 80
    assert "before: a.json" in text
    assert "· software differs: torch: 2.13.0 → 2.14.0" in text
    assert text.count("the same:") == 6
