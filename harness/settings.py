"""Settings of a training that are neither recipe nor optimizer: `--setting NAME=VALUE`, checked here."""

from collections.abc import Iterable, Mapping
from typing import Any

from harness.errors import UsageError
from workloads.recipes import Recipe

# Name → the values it may take; a float is any positive number.
_KNOWN: dict[str, tuple[str, ...] | type[float]] = {
    "learning_rate": float,
    "schedule": ("cosine", "constant"),
    "augmentation": ("none", "shift", "shift-flip"),
    "statistics": ("moving average", "recalibrated"),
    "gradient_scale": ("none", "layer"),
    # What the straight-through estimator clips by: as the recipe says, or not at all.
    "ste_mask": ("recipe", "none"),
    # A weight that has reached ±1: as the recipe says, or its gradient is cancelled, or it is clipped there.
    "border": ("recipe", "cancel", "clip"),
}
_AS_THE_RECIPE = "recipe"
_OF_RECIPES = [
    name for name, values in _KNOWN.items() if isinstance(values, tuple) and _AS_THE_RECIPE in values
]
# Those that belong to no workload.
DEFAULTS = {"statistics": "moving average", "gradient_scale": "none"}


def parse(given: Iterable[str]) -> dict[str, str | float]:
    """Return the settings by name. Raises UsageError naming those there are, or the values one may take."""
    parsed: dict[str, str | float] = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals or name not in _KNOWN:
            raise UsageError(f"--setting {pair}: write NAME=VALUE with one of: {', '.join(_KNOWN)}")
        parsed[name] = _value(name, value)
    return parsed


def put_into(recipe: Recipe, parsed: Mapping[str, str | float]) -> Recipe:
    """Return the recipe with what the settings put in the place of its own fields.

    Raises UsageError where its variables do not do for that.
    """
    replaced: dict[str, Any] = {
        name: parsed[name] for name in _OF_RECIPES if parsed.get(name, _AS_THE_RECIPE) != _AS_THE_RECIPE
    }
    if replaced.get("border") == "cancel" and not recipe.second_moment:
        raise UsageError(
            f"--setting border=cancel: '{recipe.name}' keeps no second moment, which a cancelled gradient changes; "
            "leave the setting out, or take another trainer"
        )
    return recipe._replace(**replaced)


def _value(name: str, value: str) -> str | float:
    allowed = _KNOWN[name]
    if isinstance(allowed, tuple):
        if value not in allowed:
            raise UsageError(f"--setting {name}={value}: it may be {' or '.join(allowed)}")
        return value
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise UsageError(f"--setting {name}={value}: it must be a number above 0")
    return number
