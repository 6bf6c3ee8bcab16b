"""The program as a user starts it: what it prints, and how it ends."""

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import started
from click.testing import CliRunner

from harness import cli
from results import schema
from workloads import registry


def harness(*arguments, cwd, **environment):
    return subprocess.run(
        [*started.COMMAND, *map(str, arguments)],
        cwd=cwd,
        env=started.environment(cwd) | environment,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=110,
    )


@pytest.fixture
def in_this_process(harness_main, monkeypatch, tmp_path):
    """Return what `harness` returns without starting Python, for verbs that end where `cli.main` ends.

    How a process ends, and what is printed at its end, the tests show that start one.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HARNESS_DATA", raising=False)

    def invoke(*arguments):
        ended = harness_main(*arguments, columns=80)
        return subprocess.CompletedProcess(arguments, ended.status, ended.out, ended.err)

    return invoke


def error_line(result):
    """Return the one line that an error is; a traceback or a second line fails."""
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    return lines[0]


def test_help_imports_neither_torch_nor_numpy_nor_tables(tmp_path):
    program = (
        "import sys\nfrom harness.cli import main\nsys.argv = ['harness', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print(sorted({'torch', 'numpy', 'rich', 'msgspec', 'psutil'} & set(sys.modules)))"
    )
    shown = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, cwd=tmp_path
    )
    assert shown.stdout.splitlines()[-1] == "[]"
    assert "run " in shown.stdout


def verbs():
    """Every verb, and those under it."""
    for verb in cli.harness.list_commands(None):
        yield [verb]
        for under in getattr(cli.harness.get_command(None, verb), "commands", ()):
            yield [verb, under]


@pytest.mark.parametrize("verb", [[], *verbs()], ids=" ".join)
def test_help_fits_80_columns_and_cuts_no_word(verb):
    shown = CliRunner().invoke(cli.harness, [*verb, "--help"], terminal_width=80)
    assert shown.exit_code == 0
    assert max(map(len, shown.output.splitlines())) <= 80
    assert "..." not in shown.output.partition("Commands:")[2]
    assert "{" not in shown.output


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["run", "--device", "pi"], 2, "this machine is not a Raspberry Pi; add --emulate"),
        (["run", "--device", "pi9"], 2, "unknown device 'pi9'"),
        (["run", "--workload", "nonsense"], 2, "unknown workload 'nonsense'; there is: mlp-mnist"),
        (["run", "--trainer", "nonsense"], 2, "unknown trainer 'nonsense'; there is: standard"),
        (["run", "--engine", "nonsense"], 2, "unknown engine 'nonsense'"),
        (["run", "--optimizer", "nonsense"], 2, "unknown optimizer 'nonsense'"),
        (["run", "--batch-size", "0"], 2, "--batch-size must be at least 1"),
        (["run", "--idle", "nan"], 2, "--idle must be from 0 to 86400 s, not nan"),
        (["run", "--idle", "1e18"], 2, "--idle must be from 0 to 86400 s, not 1e+18"),
        (["run", "--idle", "-1"], 2, "--idle must be from 0 to 86400 s, not -1"),
        (["run", "--timeout", "0"], 2, "--timeout must be a number of seconds above 0, not 0"),
        (["run", "--timeout", "nan"], 2, "--timeout must be a number of seconds above 0, not nan"),
        (["run", "--timeout", "inf"], 2, "--timeout must be a number of seconds above 0, not inf"),
        (["run", "--workload", "cnv-cifar10"], 1, "or give --synthetic, which needs no data"),
        (
            ["run", "--workload", "cnv-svhn"],
            1,
            "'harness data fetch svhn --data-dir DIR', or give --synthetic",
        ),
        (["run", "--workload", "mlp-mnist", "--data-dir", "nowhere"], 1, "nowhere"),
        (["run", "--meter", "nonsense"], 2, "unknown meter 'nonsense'"),
        (["model", "nonsense"], 2, "unknown workload 'nonsense'"),
        (["model", "mlp-mnist", "--trainer", "lean", "--accumulate", "2"], 2, "nothing to accumulate; try"),
        (["model", "mlp-mnist", "--convention", "paper", "--accumulate", "2"], 2, "take --convention honest"),
        (["show", "nowhere.json"], 2, "nowhere.json"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_do(in_this_process, arguments, status, message):
    result = in_this_process(*arguments)
    assert message in error_line(result)
    assert result.returncode == status


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["run", "--nonsense"], ["run", "--ceiling", "big"], ["model"]]
)
def test_wrong_usage_exits_2(tmp_path, arguments):
    result = harness(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    """A real document, whose table has dashes and signs that ASCII has not."""
    folder = tmp_path_factory.mktemp("document")
    engine = next((name for name, row in registry.ENGINES.items() if row.missing() is None), None)
    if engine is None:
        pytest.skip("no engine is installed")
    options = ["--steps", 2, "--warmup", 1, "--repeats", 1, "--meter", "none", "--trainer", "lowmem"]
    result = harness("run", *options, "--engine", engine, "--test-items", 10, "--json", "a.json", cwd=folder)
    assert result.returncode == 0, result.stderr
    return folder / "a.json"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_without_a_character_is_no_error(tmp_path, document, encoding):
    shown = harness("show", document, cwd=tmp_path, PYTHONIOENCODING=encoding)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "lowmem" in shown.stdout


@pytest.mark.parametrize("columns", ["0", ""])
def test_a_terminal_of_no_width_is_one_of_unknown_width(tmp_path, document, columns):
    shown = harness("show", document, cwd=tmp_path, COLUMNS=columns)
    assert (shown.returncode, "lowmem" in shown.stdout) == (0, True)


def test_a_document_on_standard_output_is_utf_8_whatever_the_terminal(tmp_path, document):
    arguments = ["report", document, "--format", "markdown"]
    there, here = (
        harness(*arguments, cwd=tmp_path, PYTHONIOENCODING=encoding).stdout for encoding in ("ascii", "utf-8")
    )
    assert there == here
    assert not there.isascii()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize(
    "arguments",
    [
        ["show", "DOCUMENT"],
        ["report", "DOCUMENT", "--format", "csv"],
        ["list", "trainers", "--json"],
        ["list", "trainers"],
        ["--help"],
    ],
)
def test_a_full_disk_under_standard_output_is_one_line(tmp_path, document, arguments):
    arguments = [str(document) if each == "DOCUMENT" else each for each in arguments]
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [*started.COMMAND, *arguments],
            env=started.environment(tmp_path),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=110,
        )
    assert "cannot write to standard output: No space left on device" in error_line(result)
    assert result.returncode == 1


def test_a_corrupt_document_is_named(tmp_path):
    (tmp_path / "bad.json").write_text('{"schema": "harness.result", "schema_version": 1')
    result = harness("show", "bad.json", cwd=tmp_path)
    assert "bad.json" in error_line(result)
    assert result.returncode == 1


def test_truncated_data_is_named_before_anything_runs(tmp_path):
    folder = tmp_path / "data" / "mnist"
    folder.mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (folder / f"{name}-ubyte.gz").write_bytes(b"\x1f\x8b\x08\x00 truncated")
    result = harness("run", HARNESS_DATA=str(tmp_path / "data"), cwd=tmp_path)
    assert "ubyte.gz" in error_line(result)
    assert result.returncode == 1


def test_a_folder_that_is_a_file_is_an_error_before_the_first_trial(tmp_path):
    (tmp_path / "runs").write_text("in the way")
    result = harness("run", "--steps", "1", "--meter", "none", "--quiet", cwd=tmp_path)
    assert "runs" in error_line(result)
    assert result.returncode == 1


def test_a_user_s_folder_named_power_shadows_nothing(tmp_path):
    (tmp_path / "power").mkdir()
    (tmp_path / "power" / "__init__.py").write_text("raise SystemExit('shadowed')")
    assert harness("list", "trainers", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize(
    "what", ["workloads", "trainers", "devices", "meters", "datasets", "engines", "optimizers"]
)
def test_lists_fit_80_columns_and_are_json_on_request(in_this_process, what):
    shown = in_this_process("list", what)
    assert shown.returncode == 0, shown.stderr
    assert max(map(len, shown.stdout.splitlines())) <= 80
    rows = json.loads(in_this_process("list", what, "--json").stdout)
    assert all(row["name"] in shown.stdout for row in rows)


def test_a_list_as_json_whichever_way_round(tmp_path, harness_main):
    there, here = (harness_main("list", *words) for words in (("trainers", "--json"), ("--json", "trainers")))
    assert (there.status, there.out) == (0, here.out)
    for words in ((), ("--json",), ("--json", str(tmp_path / "a.json"))):
        ended = harness_main("list", *words)
        assert (ended.status, "say what to list: workloads, trainers" in ended.err) == (2, True)
    assert not list(tmp_path.iterdir())


def test_doctor_says_of_every_meter_why_it_cannot_be_used(tmp_path):
    document = json.loads(harness("doctor", "--json", "-", cwd=tmp_path).stdout)
    assert {"machine", "engines", "meters", "limits"} <= set(document)
    assert all(each["usable"] or each["reason"] for each in document["meters"] + document["limits"])
    every = harness("doctor", "--all", cwd=tmp_path).stdout
    assert all(each["name"] in every for each in document["meters"])
    assert max(map(len, every.splitlines())) <= 80
    screen = harness("doctor", cwd=tmp_path).stdout.splitlines()
    assert (max(map(len, screen)) <= 80, len(screen) <= 40) == (True, True), len(screen)


def test_doctor_takes_one_form_of_its_answer(tmp_path):
    result = harness("doctor", "--json", "-", "--fix", cwd=tmp_path)
    assert (result.returncode, "--json and --fix exclude each other" in error_line(result)) == (2, True)


def test_the_model_is_a_table_and_a_document(in_this_process):
    arguments = ["model", "binarynet-cifar10", "--convention", "paper"]
    shown = in_this_process(*arguments).stdout
    assert "512.85" in shown
    assert "138.15" in shown
    document = json.loads(in_this_process(*arguments, "--json", "-").stdout)
    assert [round(each["total_bytes"] / 2**20, 2) for each in document["trainers"]] == [512.85, 138.15]


def test_the_model_counts_the_sums_over_micro_batches(in_this_process):
    arguments = ["model", "mlp-mnist", "--batch-size", 25, "--json", "-"]
    one, four = (json.loads(in_this_process(*arguments, "--accumulate", each).stdout) for each in (1, 4))
    assert (one["accumulate"], four["accumulate"]) == (1, 4)
    low_one, low_four = (document["trainers"][1]["by_variable"] for document in (one, four))
    assert low_four["dW"] == 16 * low_one["dW"]  # a float16 for a bit
    assert low_four["beta"] == 1.5 * low_one["beta"]  # β, ∂β and its sum
    others = low_one.keys() - {"dW", "beta"}
    assert all(low_one[name] == low_four[name] for name in others)
    shown = in_this_process("model", "mlp-mnist", "--batch-size", 25, "--accumulate", 4).stdout
    assert "batch 25 × 4 an update" in shown


def engine_or_skip(name):
    missing = registry.ENGINES[name].missing()
    return pytest.param(name, marks=pytest.mark.skipif(missing is not None, reason=str(missing)))


@pytest.mark.parametrize("engine", [engine_or_skip(name) for name in registry.ENGINES])
def test_the_main_job_gives_a_valid_document_on_standard_output(tmp_path, engine):
    options = ["--steps", 5, "--warmup", 2, "--repeats", 1, "--meter", "none", "--engine", engine]
    if engine == "torch":
        options += ["--threads", 1]  # beside other tests, several wait for each other by spinning
    result = harness("run", *options, "--json", "-", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    jsonschema.validate(document, schema.json_schema())
    standard, lowmem = document["trials"]
    assert (standard["trainer"], lowmem["trainer"]) == ("standard", "lowmem")
    assert standard["outcome"] == lowmem["outcome"] == "ok"
    for trial in (standard, lowmem):
        modelled, ledger = trial["memory"]["modelled_by_variable"], trial["memory"]["ledger_by_variable"]
        assert {name: size for name, size in ledger.items() if name != "scratch"} == {
            name: size for name, size in modelled.items() if name != "scratch"
        }
        assert set(trial["memory"]["by_phase"]) >= {
            "import",
            "setup",
            "forward",
            "backward",
            "train",
            "evaluate",
        }
    native = document["harness"]["native"]
    assert (native is not None and bool(native["isa"])) == (engine == "native")
    assert "lowmem" in result.stderr  # the table
    assert not (tmp_path / "runs").exists()
