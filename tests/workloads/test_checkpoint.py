"""The file of a checkpoint: what was put in comes out, damage is seen, and no kill leaves half a file."""

import errno
import os
import resource
import signal
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workloads import checkpoint
from workloads.checkpoint import Block
from workloads.errors import CheckpointError


def blocks_of(contents):
    return [
        Block(f"block {i}", "uint8", (len(data),), memoryview(bytearray(data)))
        for i, data in enumerate(contents)
    ]


def empty(blocks):
    return [block._replace(data=memoryview(bytearray(block.data.nbytes))) for block in blocks]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.checkpoint"


@given(contents=st.lists(st.binary(max_size=300), max_size=5), step=st.integers(0, 2**53))
def test_what_was_written_is_read(tmp_path_factory, contents, step):
    path = tmp_path_factory.mktemp("checkpoint") / "a.checkpoint"
    blocks = blocks_of(contents)
    size = checkpoint.write(path, {"step": step, "loss": float("nan")}, blocks)
    assert path.stat().st_size == size
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    read = empty(blocks)
    head = checkpoint.read_into(path, read)
    assert head["step"] == checkpoint.read_head(path)["step"] == step
    assert head["loss"] != head["loss"]
    assert [bytes(block.data) for block in read] == contents


def test_a_cut_at_any_byte_is_seen(path):
    blocks = blocks_of([b"abc", bytes(range(40))])
    checkpoint.write(path, {"step": 1}, blocks)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError):
            checkpoint.read_into(path, empty(blocks))
        with pytest.raises(CheckpointError):
            checkpoint.read_head(path)


def test_a_changed_bit_in_any_byte_is_seen(path):
    blocks = blocks_of([b"abc", bytes(range(40))])
    checkpoint.write(path, {"step": 1}, blocks)
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        with pytest.raises(CheckpointError):
            checkpoint.read_into(path, empty(blocks))


def test_blocks_of_another_training_are_refused(path):
    checkpoint.write(path, {"step": 1}, blocks_of([b"abc", b"de"]))
    for other in (blocks_of([b"abc"]), blocks_of([b"abc", b"def"]), blocks_of([b"abc", b"de", b""])):
        with pytest.raises(CheckpointError, match="another training"):
            checkpoint.read_into(path, other)


def test_what_is_no_checkpoint_is_named(path):
    with pytest.raises(CheckpointError, match="No such file"):
        checkpoint.read_head(path)
    path.write_text('{"schema": "harness.result"}')
    with pytest.raises(CheckpointError, match=r"a\.checkpoint' is no checkpoint"):
        checkpoint.read_head(path)


def test_a_refused_write_keeps_the_one_before(path):
    """The kernel itself refuses, half-way through the second file (RLIMIT_FSIZE)."""
    first, second = blocks_of([b"a" * 5000]), blocks_of([b"b" * 50_000])
    checkpoint.write(path, {"step": 1}, first)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(CheckpointError, match="the one before is kept; make room"):
            checkpoint.write(path, {"step": 2}, second)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    read = empty(first)
    assert checkpoint.read_into(path, read)["step"] == 1
    assert bytes(read[0].data) == b"a" * 5000
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_full_disk_is_said(path, monkeypatch):
    def full(file, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoint.os, "write", full)
    with pytest.raises(CheckpointError, match="No space left on device; there is none before it"):
        checkpoint.write(path, {"step": 1}, blocks_of([b"a"]))
    assert not list(path.parent.iterdir())


# Writes the second checkpoint and is killed at its Nth system call that matters; prints nothing.
_KILLED = """
import os, signal, sys
from pathlib import Path
from workloads import checkpoint

path, moment = Path(sys.argv[1]), int(sys.argv[2])
blocks = [
    checkpoint.Block(f"block {i}", "uint8", (size,), memoryview(bytearray(b"b" * size)))
    for i, size in enumerate((10, 3 << 20))
]
calls = 0


def counted(call):
    def count(*arguments, **named):
        global calls
        if calls == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        calls += 1
        return call(*arguments, **named)
    return count


for name in ("open", "write", "fsync", "close", "replace"):
    setattr(os, name, counted(getattr(os, name)))
checkpoint.write(path, {"step": 2}, blocks)
"""


def test_a_kill_at_any_moment_leaves_the_old_or_the_new_file_whole(path):
    sizes = (10, 3 << 20)
    steps, status = [], -signal.SIGKILL
    while status == -signal.SIGKILL:
        checkpoint.write(path, {"step": 1}, blocks_of([b"a" * size for size in sizes]))
        status = subprocess.run([sys.executable, "-c", _KILLED, path, str(len(steps))], timeout=30).returncode
        read = blocks_of([bytes(size) for size in sizes])
        step = checkpoint.read_into(path, read)["step"]
        letters = {bytes(block.data[:1]) for block in read}
        assert letters == {b"a" if step == 1 else b"b"}
        steps.append(step)
    assert status == 0
    assert steps == sorted(steps)  # old until the new one took its name, new from then on
    assert steps.count(1) >= 8
    assert steps.count(2) >= 3  # opening and syncing the folder, closing it, and the whole
