"""What every test shares: marks that skip with a reason, and repeatable property tests."""

import os
from importlib.util import find_spec

import hypothesis
import pytest

from harness.host import usable_cores

pytest_plugins = ["pytester"]

# Before anything imports NumPy or torch: threads that wait for each other spin, and here the tests are side by side.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The same examples in every run: a failure in CI is the same failure at home.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.load_profile("repeatable")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """Half as many processes again as processors: tests of meters and workers wait for a third of their time.

    Twice as many take as long, and starve the samplers that some tests are about.
    """
    return max(1, usable_cores() * 3 // 2)


@pytest.fixture(scope="session", autouse=True)
def unpacked_data(tmp_path_factory):
    """Keep unpacked data sets in one folder of this run, for all its processes: a sixteenth of a second for each test.

    Nobody's own cache is read or written.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "unpacked"))
        yield


def pytest_collection_modifyitems(items):
    if find_spec("torch") is not None:
        return
    for item in items:
        if item.get_closest_marker("torch"):
            item.add_marker(
                pytest.mark.skip(reason="torch is not installed: pip install 'edge-harness[torch]'")
            )
