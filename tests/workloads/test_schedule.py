import pytest

from workloads.schedule import average_share, learning_rate


def test_cosine_falls_from_the_initial_rate_towards_zero():
    rates = [learning_rate(0.1, "cosine", step, 100) for step in range(100)]
    assert rates[0] == 0.1
    assert rates[50] == pytest.approx(0.05)
    assert 0 < rates[-1] < 1e-4
    assert rates == sorted(rates, reverse=True)


def test_constant_stays():
    assert {learning_rate(0.1, "constant", step, 10) for step in range(10)} == {0.1}


def test_an_unknown_schedule_names_those_there_are():
    with pytest.raises(ValueError, match="constant, cosine"):
        learning_rate(0.1, "nonsense", 0, 1)


@pytest.mark.parametrize(
    ("batch", "cooled", "items", "share"),
    [
        (1, 1.0, 100, 1.0),
        (4, 0.0, 100, 0.25),
        (4, 1.0, 100, 0.25),
        (6, 1.0, 100, 0.2),
        (100, 0.125, 100, 0.05),
        (100, 1.0, 800, 0.4),
        (100, 1.0, 100_000, 1.0),
        (1000, 0.001, 100, 0.01),
        (50, 0.0, 100, 0.02),
    ],
)
def test_a_batch_has_its_share_in_the_averages(batch, cooled, items, share):
    assert average_share(batch, cooled, items) == pytest.approx(share)
