from collections.abc import Callable
from typing import Any

from results.conditions import accuracy_differences, length_of, length_words

Make = Callable[..., Any]


def test_the_length_is_in_words(trial: Make) -> None:
    assert length_words(length_of(trial(settings={"steps": 600, "epochs": 1}))) == "600 steps, 1 epoch"
    assert length_words(length_of(trial(settings={"steps": 6, "epochs": None}))) == "6 steps"
    assert length_words({}) == "an unknown time"


def test_what_makes_another_training_is_said(trial: Make) -> None:
    short = trial(settings={"steps": 6, "schedule": "constant", "warmup": 1})
    assert accuracy_differences(trial(), short) == [
        "trained for 60 steps → 6 steps",
        "schedule: cosine → constant",
    ]


def test_what_is_not_stated_of_a_training_is_no_difference(trial: Make) -> None:
    older = trial(settings={"steps": 60, "epochs": None})
    newer = trial(settings={"steps": 60, "epochs": 1, "gradient_scale": "none", "warmup": 5})
    assert accuracy_differences(older, newer) == []
