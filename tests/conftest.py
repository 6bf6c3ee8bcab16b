"""What every test shares: marks that skip with a reason, and repeatable property tests."""

from importlib.util import find_spec

import hypothesis
import pytest

pytest_plugins = ["pytester"]

# The same examples in every run: a failure in CI is the same failure at home.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.load_profile("repeatable")


def pytest_collection_modifyitems(items):
    if find_spec("torch") is not None:
        return
    for item in items:
        if item.get_closest_marker("torch"):
            item.add_marker(
                pytest.mark.skip(reason="torch is not installed: pip install 'edge-harness[torch]'")
            )
