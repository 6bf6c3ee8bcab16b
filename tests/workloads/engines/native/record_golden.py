"""Writes tests/data/golden-native/native.json.

Run it as a script with HARNESS_ISA=generic, when a trainer's numbers are meant to change.
"""

import json

import test_core_training as curves


def main() -> None:
    recorded = {trainer: curves.run(trainer, "mlp", steps=curves.GOLDEN_STEPS) for trainer in curves.TRAINERS}
    curves.GOLDEN.parent.mkdir(parents=True, exist_ok=True)
    curves.GOLDEN.write_text(json.dumps(recorded, indent=1) + "\n")


if __name__ == "__main__":
    main()
