"""The native sampler on real files: the same text as Python reads, when it is due, and at once when woken."""

import errno
import os
import random
import re
import shutil
import subprocess
import threading
import time
from array import array
from collections.abc import Callable
from ctypes import c_int64
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from power.base import now_ns
from power.native import sampler
from power.native.sampler import Sampler
from power.sysfs import Attribute

MS = 1_000_000
SOURCES = Path(sampler.__file__).parent
STRESS = Path(__file__).with_name("stress.cpp")

needs_library = pytest.mark.skipif(sampler.missing() is not None, reason=str(sampler.missing()))


@pytest.fixture
def sampling() -> Callable[..., Sampler]:
    made: list[Sampler] = []

    def make(paths: list[Path], rounds: int = 100, clock: c_int64 | None = None) -> Sampler:
        made.append(ByRound([str(path) for path in paths], rounds, clock))
        return made[-1]

    yield make
    for each in made:
        each.close()


def file(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


class Reading(NamedTuple):
    before_ns: int
    after_ns: int
    length: int
    text: bytes


class ByRound(Sampler):
    """A sampler whose readings come named, and by round."""

    def run(self, waits_ns: list[int]) -> list[list[Reading]]:  # type: ignore[override]
        columns, odd = super().run(array("q", waits_ns))
        by_file = [[integer(*row) for row in zip(*column, strict=True)] for column in columns]
        last = [[Reading(*raw) for raw in odd]] if odd else []
        return [list(each) for each in zip(*by_file, strict=True)] + last


def integer(before_ns: int, after_ns: int, value: int) -> Reading:
    """A reading that was an integer, as the text that says it."""
    text = f"{value}\n".encode()
    return Reading(before_ns, after_ns, len(text), text)


def texts(rounds: list[list[Reading]]) -> list[list[bytes]]:
    return [[reading.text[: reading.length] for reading in each] for each in rounds]


@needs_library
def test_every_round_reads_every_file_between_two_instants(tmp_path, sampling) -> None:
    paths = [file(tmp_path, "a", "123\n"), file(tmp_path, "b", "-45\n"), file(tmp_path, "c", "6")]
    before_ns = now_ns()
    rounds = sampling(paths).run([MS] * 5)
    assert texts(rounds) == [[b"123\n", b"-45\n", b"6\n"]] * 5
    instants = [t for each in rounds for reading in each for t in (reading.before_ns, reading.after_ns)]
    assert instants == sorted(instants)
    assert before_ns <= instants[0] < instants[-1] <= now_ns()


@needs_library
def test_no_round_comes_before_it_is_due_and_a_stall_is_not_made_up_for_in_a_burst(
    tmp_path, sampling
) -> None:
    waits_ns = [random.Random(7).randrange(1, 4 * MS) for _ in range(300)]
    due_ns = now_ns()
    rounds = sampling([file(tmp_path, "a", "1\n")], 300).run(waits_ns)
    assert len(rounds) == 300
    for (reading,), wait_ns in zip(rounds, waits_ns, strict=True):
        assert reading.before_ns >= due_ns
        due_ns = max(due_ns + wait_ns, reading.after_ns)


@needs_library
def test_the_schedule_goes_on_from_one_batch_to_the_next_by_the_clock_it_is_given(tmp_path, sampling) -> None:
    clock = c_int64(1000)
    made = sampling([file(tmp_path, "a", "1\n")], 1, clock)
    assert read_at(made, 500) == 1000

    def read_when(due_ns: int, wait_ns: int, late_ns: int = 0) -> int:
        """Run a batch that is due then; the clock stands still a nanosecond before it, then is late by so much."""
        clock.value = due_ns - 1
        found: list[int] = []
        thread = threading.Thread(target=lambda: found.append(read_at(made, wait_ns)))
        thread.start()
        thread.join(0.03)
        assert thread.is_alive()
        clock.value = due_ns + late_ns
        thread.join()
        return found[0]

    assert read_when(1500, 500) == 1500
    assert read_when(2000, 300, late_ns=100) == 2100  # late, and the next is not later for it
    assert read_when(2300, 500, late_ns=10_000) == 12_300
    assert read_at(made, 700) == 12_300  # one round is made up for
    assert read_when(13_000, 1) == 13_000


def read_at(made: Sampler, wait_ns: int) -> int:
    ((reading,),) = made.run([wait_ns])
    return reading.before_ns


@needs_library
def test_a_wake_reads_at_once_and_ends_the_batch_and_is_kept_for_the_next(tmp_path, sampling) -> None:
    sampler_ = sampling([file(tmp_path, "a", "1\n")])
    sampler_.run([3600 * 1000 * MS])
    begin_ns = now_ns()
    timer = threading.Timer(0.05, sampler_.wake)
    timer.start()
    assert len(sampler_.run([MS] * 50)) == 1  # due in an hour
    assert 50 * MS <= now_ns() - begin_ns < 30_000 * MS
    timer.join()
    sampler_.wake()
    assert len(sampler_.run([MS] * 50)) == 1


@needs_library
def test_the_interpreter_is_free_while_it_runs(tmp_path, sampling) -> None:
    sampler_ = sampling([file(tmp_path, "a", "1\n")])
    thread = threading.Thread(target=sampler_.run, args=([20 * MS] * 20,))
    cpu_s = time.process_time()
    thread.start()
    turns = 0
    while thread.is_alive():
        turns += 1
        time.sleep(0.001)
    assert turns > 20
    assert time.process_time() - cpu_s < 0.3


@needs_library
def test_values_put_there_by_rename_and_what_is_gone_are_noticed(tmp_path, sampling) -> None:
    path = file(tmp_path, "energy_uj", "1\n")
    sampler_ = sampling([path])
    assert texts(sampler_.run([0, 0])) == [[b"1\n"]] * 2
    for value in (b"2\n", b"3\n"):
        file(tmp_path, "next", value).rename(path)
        assert texts(sampler_.run([0])) == [[value]]
    path.unlink()
    ((reading,),) = sampler_.run([0] * 10)
    assert reading.length == -errno.ENOENT
    file(tmp_path, "energy_uj", "4\n")
    assert texts(sampler_.run([0])) == [[b"4\n"]]


@needs_library
def test_what_the_kernel_says_comes_with_the_sample_and_ends_the_batch(tmp_path, sampling) -> None:
    good = file(tmp_path, "good", "1\n")
    folder = tmp_path / "folder"
    folder.mkdir()
    for path, code in ((folder, errno.EISDIR), (Path("/proc/self/mem"), errno.EIO)):
        ((first, failed, last),) = sampling([good, path, good]).run([0] * 10)
        assert (first.length, failed.length, last.length) == (2, -code, 2)


@needs_library
@pytest.mark.parametrize("text", [b"", b"\n", b"-", b"1.5\n", b"12 34\n", b"x", b"1" * 50])
def test_what_is_no_integer_ends_the_batch(tmp_path, sampling, text) -> None:
    (readings,) = sampling([file(tmp_path, "a", text), file(tmp_path, "b", "1\n")]).run([0] * 10)
    assert readings[0].text[: readings[0].length] == text[: sampler.TEXT_BYTES]
    assert readings[1].text[:2] == b"1\n"


#: What files may say, integers at the edge of 64 bits among them.
CONTENTS = st.one_of(
    st.binary(max_size=60),
    st.integers(-(2**65), 2**65).map(lambda number: f"{number}\n".encode()),
    st.sampled_from([2**63 - 1, 2**63, -(2**63), -(2**63) - 1]).map(lambda number: f"{number}".encode()),
    st.from_regex(rb"[-+ ]?[0-9_]{0,46}\n?", fullmatch=True),
)


@needs_library
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(CONTENTS, min_size=1, max_size=4))
def test_any_text_is_what_python_reads_and_an_integer_its_value(
    tmp_path: Path, contents: list[bytes]
) -> None:
    paths = [file(tmp_path, f"file{i}", content) for i, content in enumerate(contents)]
    attributes = [Attribute(str(path)) for path in paths]
    sampler_ = Sampler([str(path) for path in paths], 1)
    try:
        oracle = [attribute.read()[: sampler.TEXT_BYTES] for attribute in attributes]
        columns, odd = sampler_.run(array("q", [0]))
        if odd:
            assert [text for _, _, _, text in odd] == oracle
            assert any(not is_plain(text) for text in oracle)
        else:
            assert [list(column.values) for column in columns] == [[int(text)] for text in oracle]
            assert all(map(is_plain, oracle))
    finally:
        sampler_.close()
        for attribute in attributes:
            attribute.close()


def is_plain(text: bytes) -> bool:
    """Whether a text is an integer of 64 bits and certainly whole."""
    matched = re.fullmatch(rb"-?[0-9]+\n?", text)
    return matched is not None and len(text) < sampler.TEXT_BYTES and -(2**63) <= int(text) < 2**63


@needs_library
def test_a_file_that_cannot_be_opened_is_named_and_no_file_is_left_open(tmp_path) -> None:
    open_before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    good, absent = file(tmp_path, "good", "1\n"), tmp_path / "absent"
    with pytest.raises(FileNotFoundError) as caught:
        Sampler([str(good), str(good), str(absent)], 1)
    assert caught.value.filename == str(absent)
    made = Sampler([str(good)] * 3, 1)
    made.close()
    made.close()
    made.wake()
    assert len(os.listdir("/proc/self/fd")) == open_before  # noqa: PTH208


def test_a_machine_without_the_library_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(sampler.VARIABLE, "none")
    assert sampler.find() is None
    assert "without a C++ compiler" in str(sampler.missing())
    with pytest.raises(FileNotFoundError, match="not installed"):
        Sampler(["/dev/null"], 1)
    monkeypatch.setenv(sampler.VARIABLE, str(file(tmp_path, "broken.so", "no library")))
    assert "cannot be loaded" in str(sampler.missing())


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
@pytest.mark.parametrize("sanitizers", ["address,undefined", "thread"])
def test_marks_from_other_threads_and_files_that_come_and_go_are_clean(
    tmp_path: Path, sanitizers: str
) -> None:
    program = tmp_path / "stress"
    flags = ["-std=c++17", "-O1", "-g", "-Wall", "-Wextra", "-Werror", f"-fsanitize={sanitizers}", "-pthread"]
    sources = [str(STRESS), str(SOURCES / "sampler.cpp"), f"-I{SOURCES}"]
    subprocess.run(["g++", *flags, *sources, "-o", str(program)], check=True, capture_output=True, text=True)
    done = subprocess.run([str(program), str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout == "clean\n"
