"""One worker, watched from start to end: whatever it does, there is a report, and no process is left.

The worker runs in a session of its own, so that everything it starts can be ended with it and a Ctrl-C in the terminal
reaches only the parent, which then ends the worker. Its messages come on a pipe of their own; what it prints is read
and only the last of it kept.
"""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from harness import launch
from harness.ceilings import Ceiling
from harness.errors import WorkerError
from harness.memory import Residency, read_residency
from harness.messages import AnyMessage, Done, Failure, Peak, WindowEdge, decode
from results.format import size

_LONGEST_LINE_BYTES = 16 << 20
_KEPT_OUTPUT_BYTES = 4096
_LEAVE_S = 30.0
_LOOK_S = 0.05  # how often the parent reads the worker's residency, for the display and the killed case


# Who sends what nobody here sent; a ceiling of ours that was hit has been named before.
_BY = {
    signal.SIGKILL: ": by hand, or by the kernel for want of memory; --ceiling SIZE makes that an outcome",
}


class Ending(msgspec.Struct, kw_only=True):
    """How a worker ended: its exit status, and why the trial failed if it did."""

    outcome: str  # "ok" | "out_of_memory" | "error"
    reason: str | None
    detail: str = ""
    highest: Residency | None = None  # the highest peak the parent saw, for a worker that could not say
    look_cpu_share: float | None = None  # part of one processor that the looks at the worker took


class Supervisor:
    """Starts one worker and watches it; `on_message` and `on_residency` are called as things come in.

    With `answers`, the worker waits at the edges `ready` and `end` of its window until `on_message` has returned.
    `refuse` tells from a message why the worker must not go on, as out of memory; None lets it.
    """

    def __init__(
        self,
        argv: list[str],
        job: Mapping[str, Any],
        environment: Mapping[str, str],
        *,
        launch_settings: Mapping[str, Any] | None = None,
        ceiling: Ceiling | None = None,
        silence_s: float = 900.0,
        answers: bool = False,
        refuse: Callable[[AnyMessage], str | None] = lambda message: None,
        on_message: Callable[[AnyMessage, int], None] = lambda message, pid: None,
        on_residency: Callable[[Residency], None] = lambda residency: None,
    ) -> None:
        self._argv, self._job, self._environment = argv, job, environment
        self._settings = dict(launch_settings or {})
        self._ceiling, self._silence_s, self._answers = ceiling, silence_s, answers
        self._refuse, self._refused = refuse, ""
        self._on_message, self._on_residency = on_message, on_residency
        self._output: deque[bytes] = deque(maxlen=64)
        self._pending = bytearray()
        self._failure: Failure | None = None
        self._done = False
        self._launched = False  # until then the process is the launcher, whose memory is not the worker's
        self._highest: Residency | None = None
        self._measured = False
        # What is resident while phases are repeated for a meter, after the trial, is no figure of it.
        self._repeats = False
        self._look_cpu_ns = 0
        self._look_cpu_share: float | None = None
        self._fault: str | None = None  # what the parent itself found wrong

    def run(self) -> Ending:
        """Run the worker to its end. Raises WorkerError when it cannot be started."""
        read_end, write_end = os.pipe()
        launching, launched = os.pipe()  # its writing end closes when the launcher becomes the worker
        try:
            process = self._start(write_end, launched)
        except OSError as error:
            os.close(read_end)
            os.close(launching)
            raise WorkerError(f"cannot start a worker: {error}") from error
        finally:
            os.close(write_end)
            os.close(launched)
        try:
            self._hand_over_job(process)
            self._watch(process, read_end, launching)
        finally:
            _end(process)
            os.close(read_end)
            os.close(launching)
        return self._ending(process.returncode)

    def _start(self, write_end: int, launched: int) -> subprocess.Popen[bytes]:
        settings = {"parent": os.getpid(), "launched_fd": launched, **self._settings}
        if self._ceiling:
            settings |= self._ceiling.launch_settings()
        launcher = [sys.executable, "-I", "-S", str(Path(launch.__file__)), json.dumps(settings)]
        environment = {**self._environment, "HARNESS_MESSAGES_FD": str(write_end)}
        return subprocess.Popen(
            [*launcher, *self._argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(write_end, launched),
            env=environment,
            start_new_session=True,
        )

    def _hand_over_job(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        # A worker that dies before it reads its job is found dead by the watch; the pipe is not news.
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(self._job).encode() + b"\n")
            process.stdin.flush()
        self._stdin = process.stdin
        if not self._answers:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()

    def _watch(self, process: subprocess.Popen[bytes], read_end: int, launching: int) -> None:
        assert process.stdout is not None
        os.set_blocking(read_end, False)
        os.set_blocking(process.stdout.fileno(), False)
        poll_s = (self._ceiling.poll_s if self._ceiling else None) or _LOOK_S
        begun = heard = looked = time.monotonic()
        with selectors.DefaultSelector() as selector:
            selector.register(read_end, selectors.EVENT_READ, self._take_messages)
            selector.register(process.stdout, selectors.EVENT_READ, self._take_output)
            selector.register(launching, selectors.EVENT_READ, self._take_launch)
            while selector.get_map() and self._fault is None and not self._refused:
                for key, _ in selector.select(poll_s):
                    chunk = os.read(key.fd, 1 << 16)
                    if not chunk:
                        selector.unregister(key.fileobj)
                    key.data(chunk, process.pid)
                    heard = time.monotonic()
                now = time.monotonic()
                if now - looked >= poll_s:
                    looked = now
                    before_ns = time.thread_time_ns()
                    self._look(process.pid)
                    self._look_cpu_ns += time.thread_time_ns() - before_ns
                if now - heard > self._silence_s:
                    self._fault = f"no sign of life for {self._silence_s:g} s; ended (see --timeout)"
                if read_end not in selector.get_map() and process.poll() is not None:
                    break  # something it left behind may still hold its standard output
        watched_s = time.monotonic() - begun
        self._look_cpu_share = self._look_cpu_ns * 1e-9 / watched_s if watched_s > 0 else None
        if self._fault is None and not self._refused:
            self._await_exit(process)

    def _await_exit(self, process: subprocess.Popen[bytes]) -> None:
        """Give a worker that has closed its pipes the time to leave by itself, so that its status is its own."""
        try:
            process.wait(timeout=_LEAVE_S)
        except subprocess.TimeoutExpired:
            self._fault = f"the worker closed its pipes and did not end within {_LEAVE_S:g} s"

    def _take_messages(self, chunk: bytes, pid: int) -> None:
        self._pending += chunk
        *lines, rest = self._pending.split(b"\n")
        self._pending = bytearray(rest)
        if len(rest) > _LONGEST_LINE_BYTES:
            self._fault = "the worker's message has no end"
        for line in lines:
            try:
                message = decode(bytes(line))
            except msgspec.MsgspecError as error:
                self._fault = f"the worker sent something that is no message ({error}): {bytes(line[:60])!r}"
                return
            if isinstance(message, Failure):
                self._failure = message
            self._done = self._done or isinstance(message, Done)
            if isinstance(message, WindowEdge) and message.event == "end":
                self._measured = True
            # The last evaluation, not one in between.
            if self._measured and isinstance(message, Peak) and message.phase == "evaluate":
                self._repeats = bool(self._job.get("phase_s"))
            self._on_message(message, pid)
            self._refused = self._refused or self._refuse(message) or ""
            if self._answers and isinstance(message, WindowEdge) and message.event in ("ready", "end"):
                with contextlib.suppress(BrokenPipeError):
                    self._stdin.write(b"\n")
                    self._stdin.flush()

    def _take_launch(self, chunk: bytes, pid: int) -> None:
        self._launched = True  # nothing is ever written there: the end of the pipe is the news

    def _take_output(self, chunk: bytes, pid: int) -> None:
        self._output.append(chunk[-_KEPT_OUTPUT_BYTES:])

    def _look(self, pid: int) -> None:
        if not self._launched:
            return
        residency = read_residency(pid)
        if residency is None:
            return
        known = self._highest
        if not self._repeats and (known is None or residency.peak_rss_bytes > known.peak_rss_bytes):
            self._highest = residency
        self._on_residency(residency)
        if self._ceiling and self._ceiling.exceeded(pid):
            self._fault = "ceiling"

    def _ending(self, status: int) -> Ending:
        printed = b"".join(self._output)[-_KEPT_OUTPUT_BYTES:].decode(errors="replace").strip()
        outcome, reason = self._judge(status, printed)
        detail = self._failure.detail if self._failure else printed
        return Ending(
            outcome=outcome,
            reason=reason,
            detail="" if outcome == "ok" else detail,
            highest=self._highest,
            look_cpu_share=self._look_cpu_share,
        )

    def _judge(self, status: int, printed: str) -> tuple[str, str | None]:
        if self._refused:  # whether or not the ceiling was faster than the parent
            return "out_of_memory", self._refused
        if self._ceiling and self._ceiling.was_hit():
            limit = size(self._ceiling.limit_bytes)
            return "out_of_memory", f"ended at the ceiling of {limit} ({self._ceiling.mechanism})"
        if self._failure:
            return self._failure.outcome, self._failure.reason
        if self._fault:
            return "error", self._fault
        if status < 0:
            number = signal.Signals(-status)
            return "error", f"the worker was ended by {number.name}{_BY.get(number, '')}"
        if status == 0 and self._done:
            return "ok", None
        last = printed.splitlines()[-1] if printed else "it printed nothing"
        return "error", f"the worker ended early with status {status}: {last}"


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the worker and whatever it started, and reap it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    for stream in (process.stdin, process.stdout):
        if stream:
            with contextlib.suppress(OSError):
                stream.close()
    process.wait()
