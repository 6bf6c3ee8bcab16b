"""What every test shares: marks that skip with a reason, and repeatable property tests."""

from importlib.util import find_spec

import hypothesis
import pytest

from harness.host import usable_cores

pytest_plugins = ["pytester"]

# The same examples in every run: a failure in CI is the same failure at home.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.load_profile("repeatable")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """Half as many processes again as processors: tests of meters and workers wait for a third of their time.

    Twice as many take as long, and starve the samplers that some tests are about.
    """
    return max(1, usable_cores() * 3 // 2)


def pytest_collection_modifyitems(items):
    if find_spec("torch") is not None:
        return
    for item in items:
        if item.get_closest_marker("torch"):
            item.add_marker(
                pytest.mark.skip(reason="torch is not installed: pip install 'edge-harness[torch]'")
            )
