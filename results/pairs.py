"""Which trials of two documents belong together, and in words what has no partner: nothing drops out unseen."""

from collections.abc import Sequence
from typing import NamedTuple

from results.schema import Document, Trial
from results.summary import Setup, setup_of, setup_title


class Key(NamedTuple):
    """One configuration: a setup and a trainer."""

    setup: Setup
    trainer: str

    def __str__(self) -> str:
        return f"{self.trainer} on {setup_title(self.setup)}"


Pair = tuple[Trial, Trial]


def by_key(document: Document) -> dict[Key, dict[int, Trial]]:
    """Return the finished trials by configuration and repeat number."""
    found: dict[Key, dict[int, Trial]] = {}
    for trial in document.trials:
        if trial.outcome == "ok":
            found.setdefault(Key(setup_of(trial), trial.trainer), {})[trial.repeat] = trial
    return found


def paired(old: dict[int, Trial], new: dict[int, Trial]) -> list[Pair]:
    """Return the trials of the repeats that both sides finished, in order."""
    return [(old[repeat], new[repeat]) for repeat in sorted(set(old) & set(new))]


def nothing_in_common(old: Sequence[Key], new: Sequence[Key]) -> str:
    """Return why no configuration is in both documents: the fields that differ, or the empty side."""
    for name, keys in (("first", old), ("second", new)):
        if not keys:
            return f"the {name} document has no finished trial to compare; run it again"
    fields = [
        (name.replace("_", " "), {_field(key, name) for key in old}, {_field(key, name) for key in new})
        for name in (*Setup._fields, "trainer")
    ]
    apart = [f"{name}: {_set(a)} and {_set(b)}" for name, a, b in fields if not a & b]
    return (
        "the documents have no configuration in common "
        f"({'; '.join(apart) or 'each field alone agrees, no combination does'}); "
        "measure both with the same options"
    )


def left_out(before: Document, after: Document) -> list[str]:
    """Return in words each trial that did not finish, and each configuration or repeat that has no partner."""
    finished = {"first": by_key(before), "second": by_key(after)}
    lines = [
        f"{Key(setup_of(trial), trial.trainer)}: {trial.outcome.replace('_', ' ')} in the {side} document"
        for side, document in (("first", before), ("second", after))
        for trial in document.trials
        if trial.outcome != "ok"
    ]
    for side, other in (("first", "second"), ("second", "first")):
        for key, repeats in finished[side].items():
            partners = finished[other].get(key)
            alone = sorted(set(repeats) - set(partners or ()))
            which = f"repeat {', '.join(map(str, alone))} " if partners else ""
            lines += [f"{key}: {which}finished in the {side} document only"] if alone else []
    return list(dict.fromkeys(lines))


def _field(key: Key, name: str) -> str:
    """Return one field of a configuration as text."""
    return key.trainer if name == "trainer" else str(getattr(key.setup, name))


def _set(values: set[str]) -> str:
    """Return values in a fixed order."""
    return ", ".join(sorted(values))
