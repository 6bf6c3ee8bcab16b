"""`harness data`: what it prints, and which errors it ends in."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness.commands.data import command
from harness.errors import UsageError
from workloads.datasets import mnist
from workloads.errors import DataCorruptError, DataFetchError, DataMissingError, UnknownNameError


@pytest.fixture
def as_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a data folder whose MNIST is the packaged sample, published as such."""
    (tmp_path / "mnist").mkdir()
    for file in mnist.SAMPLE_FILES:
        shutil.copyfile(mnist.SAMPLES / file.name, tmp_path / "mnist" / file.name)
    monkeypatch.setattr(mnist, "FILES", tuple(f._replace(folder="mnist") for f in mnist.SAMPLE_FILES))
    return tmp_path


def harness_data(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command, [str(a) for a in arguments], env={"HARNESS_DATA": ""})


def test_list_without_a_folder() -> None:
    result = harness_data("list")
    assert result.exit_code == 0
    assert "the packaged sample serves" in result.stdout
    assert "cifar10-jpeg75" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_list_as_json_says_what_is_there(as_mnist: Path) -> None:
    (as_mnist / "mnist" / mnist.FILES[3].name).unlink()
    document = json.loads(harness_data("list", "--json", "--data-dir", as_mnist).stdout)
    rows = {row["name"]: row for row in document["datasets"]}
    assert document["schema"] == "harness.datasets"
    assert rows["mnist"]["state"] == f"missing: {mnist.FILES[3].name}"
    assert [bool(file["path"]) for file in rows["mnist"]["files"]] == [True, True, True, False]
    assert rows["synthetic"]["state"] == "needs no files"
    assert rows["imagenet"]["state"] == "no class folders"
    assert rows["svhn"]["files"][0] == {"name": "train_32x32.mat", "size_bytes": 182_040_794, "path": None}


def test_verify_says_ok(as_mnist: Path) -> None:
    result = harness_data("verify", "mnist", "--data-dir", as_mnist)
    assert result.exit_code == 0
    assert result.stdout.count("ok  ") == 4


def test_verify_names_damage_and_absence(as_mnist: Path) -> None:
    path = as_mnist / "mnist" / mnist.FILES[1].name
    path.write_bytes(path.read_bytes()[:-1])
    result = harness_data("verify", "mnist", "--data-dir", as_mnist)
    assert "damaged" in result.stdout
    assert isinstance(result.exception, DataCorruptError)
    path.unlink()
    result = harness_data("verify", "mnist", "--data-dir", as_mnist)
    assert "missing" in result.stdout
    assert isinstance(result.exception, DataMissingError)
    assert path.name in str(result.exception)


@pytest.mark.parametrize("name", ["imagenet", "synthetic"])
def test_verify_of_what_has_no_checksums_is_a_usage_error(name: str, tmp_path: Path) -> None:
    assert isinstance(harness_data("verify", name, "--data-dir", tmp_path).exception, UsageError)


def test_fetch_of_what_is_there_prints_where(as_mnist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_urls = tuple(f._replace(urls=("http://127.0.0.1:9/" + f.name,)) for f in mnist.FILES)
    monkeypatch.setattr(mnist, "FILES", with_urls)
    result = harness_data("fetch", "mnist", "--data-dir", as_mnist)
    assert result.stdout.splitlines() == [str(as_mnist / "mnist" / f.name) for f in mnist.FILES]
    (as_mnist / "mnist" / mnist.FILES[0].name).unlink()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    result = harness_data("fetch", "mnist", "--data-dir", as_mnist)
    assert isinstance(result.exception, DataFetchError)
    assert "no network" in str(result.exception)


@pytest.mark.parametrize("verb", ["fetch", "verify"])
def test_a_folder_must_be_named(verb: str) -> None:
    result = harness_data(verb, "mnist")
    assert isinstance(result.exception, UsageError)
    assert "--data-dir" in str(result.exception)


@pytest.mark.parametrize("verb", ["fetch", "verify"])
def test_unknown_names_are_named(verb: str, tmp_path: Path) -> None:
    result = harness_data(verb, "minst", "--data-dir", tmp_path)
    assert isinstance(result.exception, UnknownNameError)
