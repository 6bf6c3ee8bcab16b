"""What an accuracy was reached under: how long was trained, by which settings, and over how many test items.

Memory, time and energy of a step depend on none of these, so they stand in one row; accuracies do not.
"""

from collections.abc import Mapping

from results.schema import Setting, Trial

LENGTH = ("steps", "epochs")
TRAINED_BY = ("learning_rate", "schedule", "augmentation", "gradient_scale")
"""Settings that change what is trained; the others change what is measured of it."""
_REACHED_BY = (*TRAINED_BY, "ste_mask", "border", "statistics")


def length_of(trial: Trial) -> dict[str, Setting]:
    """Return how long a trial trained; epochs are there where they were what was asked for."""
    return {name: trial.settings[name] for name in LENGTH if trial.settings.get(name) is not None}


def length_words(length: Mapping[str, Setting]) -> str:
    """Return how long was trained, in words."""
    words = (f"{value} {name.removesuffix('s') if value == 1 else name}" for name, value in length.items())
    return ", ".join(words) or "an unknown time"


def accuracy_differences(before: Trial, after: Trial) -> list[str]:
    """Return in words why two accuracies are of different trainings; what one does not state is no reason."""
    old, new = before.settings, after.settings
    apart = [name for name in (*LENGTH, *_REACHED_BY) if _both(old.get(name), new.get(name))]
    words = [f"{name}: {old[name]} → {new[name]}" for name in apart if name not in LENGTH]
    if len(words) < len(apart):
        words.insert(0, f"trained for {length_words(length_of(before))} → {length_words(length_of(after))}")
    items = before.quality.test_items, after.quality.test_items
    return words + ([f"test items: {items[0]} → {items[1]}"] if items[0] != items[1] else [])


def _both(old: Setting, new: Setting) -> bool:
    """Tell whether both are stated and they differ."""
    return old is not None and new is not None and old != new
