import os
from array import array

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import messages
from harness.protocol import Channel, finite
from workloads.engines.accelerator import AcceleratorMemory


@pytest.fixture
def channel():
    read_end, write_end = os.pipe()
    yield Channel(write_end), lambda: os.read(read_end, 1 << 16).splitlines()
    os.close(read_end)
    os.close(write_end)


@pytest.mark.parametrize("count", [0, 1, 64, 65, 200])
def test_durations_in_pieces_are_one_message(channel, count):
    sender, received = channel
    durations = {"step": array("q", range(count)), "update": None, "data": list(range(count))}
    sender.timing(durations)
    expected = {part: None if each is None else list(each) for part, each in durations.items()}
    assert [messages.decode(line) for line in received()] == [messages.Timing(expected)]


def test_every_message_a_worker_sends_is_one_the_parent_knows(channel):
    sender, received = channel
    residency = {"rss_bytes": 1, "peak_rss_bytes": 2, "anon_bytes": 3, "file_bytes": 4}
    there = AcceleratorMemory(1, 2, 3, 4, 5)._asdict()
    sender.phase("setup", 5)
    sender.peak("setup", 6, residency)
    sender.no_peak("setup", 6, "nobody knows")
    sender.accelerator_peak("setup", 6, there)
    sender.progress(1, 2, float("nan"))
    sender.window("begin", 6)
    sender.timing({"step": [1, 2], "update": None})
    sender.ledger({"W": 7}, {"threads": 3})
    sender.evaluated(1, 7, 9, 1000)
    sender.quality([0.5, float("inf")], 8, 9, "moving average")
    sender.facts({"version": "1"})
    sender.failure("error", "why", "where")
    sender.done()
    assert [messages.decode(line) for line in received()] == [
        messages.PhaseBegun("setup", 5),
        messages.Peak("setup", 6, **residency),
        messages.Peak("setup", 6, None, None, None, None, "nobody knows"),
        messages.AcceleratorPeak("setup", 6, **there),
        messages.Progress(1, 2, None),
        messages.WindowEdge("begin", 6),
        messages.Timing({"step": [1, 2], "update": None}),
        messages.Ledger({"W": 7}, {"threads": 3}),
        messages.Evaluated(1, 7, 9, 1000),
        messages.Quality([0.5, None], 8, 9, "moving average"),
        messages.Facts({"version": "1"}),
        messages.Failure("error", "why", "where"),
        messages.Done(),
    ]


@given(st.binary(max_size=200))
def test_anything_else_is_refused_as_such(line):
    try:
        message = messages.decode(line)
    except msgspec.MsgspecError:
        return
    assert isinstance(message, messages.Message)


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_what_json_has_no_word_for_becomes_null(value):
    kept = finite(value)
    assert kept == value if kept is not None else value != value or abs(value) == float("inf")
