"""Plugs on a real local HTTP server that behaves as each model does, and misbehaves as networks do."""

import contextlib
import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from power import reader, recorder
from power.errors import MeterReadError, MeterUnavailableError
from power.meters import http_plug
from power.meters.http_plug import PASSWORD, LoginError, digest_login, number
from power.meters.shelly import ShellyMeter
from power.meters.tasmota import TasmotaMeter
from power.recorder import Recorder
from power.registry import make
from power.window import WindowEnergy

SHELLY = {
    "id": 0,
    "output": True,
    "apower": 8.9,
    "voltage": 237.5,
    "aenergy": {"total": 6.532, "by_minute": [0.0]},
}
TASMOTA = {
    "StatusSNS": {"Time": "2024-01-01T00:00:00", "ENERGY": {"Total": 1.234, "Power": 9, "Voltage": 230}}
}


class Plug(BaseHTTPRequestHandler):
    """Answers as a Shelly and as a Tasmota; what goes wrong is set on the class of each test."""

    body: ClassVar[bytes | None] = None
    status: ClassVar[int] = 200
    before: ClassVar[Callable[[], Any]] = staticmethod(lambda: None)
    password: ClassVar[str] = ""
    warns_with: ClassVar[int] = 200
    cut: ClassVar[int] = 0
    answers: ClassVar[dict[str, Any]] = {"shelly": SHELLY, "tasmota": TASMOTA}

    def do_GET(self) -> None:
        self.before()
        url = urlsplit(self.path)
        if url.path == "/rpc/Switch.GetStatus" and parse_qs(url.query) == {"id": ["0"]}:
            self.shelly()
        elif url.path == "/cm" and parse_qs(url.query).get("cmnd") == ["Status 10"]:
            self.tasmota(parse_qs(url.query))
        else:
            self.answer(404, b"")

    def shelly(self) -> None:
        if self.password and not self.logged_in():
            self.send_response(401)
            challenge = 'Digest qop="auth", realm="shellyplug-x", nonce="60dc59c6", algorithm=SHA-256'
            self.send_header("WWW-Authenticate", challenge)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.answer(self.status, json.dumps(self.answers["shelly"]).encode())

    def logged_in(self) -> bool:
        fields = dict(re.findall(r'(\w+)="?([^",]*)"?', self.headers.get("Authorization", "")))

        def digest(text: str) -> str:
            return hashlib.sha256(text.encode()).hexdigest()

        secret = digest(f"admin:shellyplug-x:{self.password}")
        request = digest(f"GET:{self.path}")
        nonces = f"60dc59c6:{fields.get('nc')}:{fields.get('cnonce')}:auth"
        return fields.get("response") == digest(f"{secret}:{nonces}:{request}") and fields["uri"] == self.path

    def tasmota(self, query: dict[str, list[str]]) -> None:
        if self.password and query.get("password") != [self.password]:
            warning = {"WARNING": "Need user=<username>&password=<password>"}
            self.answer(self.warns_with, json.dumps(warning).encode())
        else:
            self.answer(self.status, json.dumps(self.answers["tasmota"]).encode())

    def answer(self, status: int, body: bytes) -> None:
        body = self.body if self.body is not None else body
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # a meter that did not wait has gone
            self.wfile.write(body[: len(body) - self.cut])

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class Server:
    def __init__(self, port: int = 0) -> None:
        self.plug: Any = type("ThisPlug", (Plug,), {})
        self.http = ThreadingHTTPServer(("127.0.0.1", port), self.plug)
        self.http.daemon_threads = True
        self.port: int = self.http.server_address[1]
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))
        self.thread.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def stop(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.delenv(PASSWORD, raising=False)
    # A proxy of the environment must not be asked for a plug in the room.
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    server = Server()
    yield server
    server.stop()


def test_a_shelly_and_a_tasmota_are_read(server: Server) -> None:
    for name, power_w, register_j in (("shelly", 8.9, 6.532 * 3600), ("tasmota", 9.0, 1.234 * 3.6e6)):
        with make(f"{name}:{server.address}") as meter:
            samples = {sample.domain: sample.value for sample in meter.read()}
            assert samples == pytest.approx({"plug": power_w, "plug-register": register_j})
            assert meter.settings() == {"address": server.address}
            assert meter.domains[1].parent == "plug"


@pytest.mark.parametrize(
    ("name", "status", "refused"),
    [
        ("shelly", 401, "the plug refused the login (HTTP 401)"),
        ("tasmota", 200, "the plug wants a password, or another one"),
        ("tasmota", 401, "the plug refused the password (HTTP 401)"),
    ],
)
def test_a_password_comes_from_the_environment_and_stays_out_of_the_record(
    server: Server, monkeypatch: pytest.MonkeyPatch, name: str, status: int, refused: str
) -> None:
    server.plug.password, server.plug.warns_with = "s3cret & more", status
    meter = make(f"{name}:{server.address}")
    with pytest.raises(MeterUnavailableError, match=PASSWORD) as unavailable:
        meter.open()
    assert unavailable.value.reason.startswith("the plug wants a password")
    monkeypatch.setenv(PASSWORD, "wrong")
    found = meter.probe()
    assert (found.usable, found.reason, PASSWORD in str(found.hint)) == (False, refused, True)
    monkeypatch.setenv(PASSWORD, "s3cret & more")
    meter.open()
    assert meter.read()[0].value > 0
    assert "s3cret" not in str(meter.settings())


@pytest.mark.parametrize("name", ["shelly", "tasmota"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b'{"apower": 5',
        b"[]",
        b"{}",
        b'{"apower": "much"}',
        b'{"apower": true}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_malformed_answers_are_failed_readings(server: Server, name: str, body: bytes) -> None:
    meter = make(f"{name}:{server.address}")
    meter.open()
    server.plug.body = body
    with pytest.raises(MeterReadError, match=server.address):
        meter.read()
    server.plug.body = None
    assert meter.read()


@pytest.mark.parametrize("name", ["shelly", "tasmota"])
def test_slow_refusing_and_broken_off_answers(
    server: Server, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    meter = make(f"{name}:{server.address}")
    meter.open()
    server.plug.cut = 20
    with pytest.raises(MeterReadError, match="broke off"):
        meter.read()
    server.plug.cut, server.plug.status = 0, 503
    with pytest.raises(MeterReadError, match="HTTP 503"):
        meter.read()
    given_up = threading.Event()
    server.plug.status, server.plug.before = 200, staticmethod(lambda: given_up.wait(60))
    monkeypatch.setattr(http_plug, "TIMEOUT_S", 0.2)
    with pytest.raises(MeterReadError, match="timed out"):
        meter.read()
    given_up.set()  # only now does the plug answer: the reading did not wait for it


def test_a_slow_answer_is_stamped_in_the_middle(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    clock_ns = [5_000_000_000]
    monkeypatch.setattr(http_plug, "now_ns", lambda: clock_ns[0])

    def take_200_ms() -> None:
        clock_ns[0] += 200_000_000

    with make(f"shelly:{server.address}") as meter:
        server.plug.before = staticmethod(take_200_ms)
        assert meter.read()[0].t_ns == 5_100_000_000


def test_a_plug_that_restarts_in_the_middle_is_read_again(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_plug, "TIMEOUT_S", 60.0)  # only the restart may fail a reading
    address, port = server.address, server.port
    with Recorder([make(f"shelly:{address}")], period_s=0.02) as recorder:
        series = recorder.series("shelly", "plug")
        until(lambda: len(series) > 3)
        server.stop()
        until(lambda: recorder.overhead()[0].failures == 1)
        again = Server(port)
        server.http, server.thread = again.http, again.thread
        back_ns = time.monotonic_ns()
        until(lambda: series.t_ns[-1] > back_ns)
        assert recorder.overhead()[0].failures == 1


class Load:
    """A plug that feeds a constant load, by a clock that goes on with each answer alone: no stall makes a gap.

    One of its answers is as far from the next as its register needs for a hundred renewals in a hundred answers.
    """

    def __init__(self, server: Server, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.server, self.name, self.ns, self.register_j = server, name, 1_000_000_000_000, 5e6
        self.step_s, self.power_w = {"shelly": (60.0, 9.0), "tasmota": (1.0, 3700.0)}[name]
        self.lock = threading.Lock()
        server.plug.before = staticmethod(self.go_on)
        for module in (http_plug, reader, recorder):
            monkeypatch.setattr(module, "now_ns", lambda: self.ns)
        monkeypatch.setattr(http_plug, "TIMEOUT_S", 60.0)  # only what a test does may fail a reading
        self.go_on()

    def go_on(self, steps: int = 1, *, from_zero: bool = False) -> None:
        """Let time pass, and set the register back to zero at its end."""
        with self.lock:
            self.ns += round(steps * self.step_s * 1e9)
            self.register_j = 0.0 if from_zero else self.register_j + steps * self.step_s * self.power_w
            self.tell()

    def tell(self) -> None:
        watt_hours = {"total": round(self.register_j / 3600, 3)}
        counted = {"Total": round(self.register_j / 3.6e6, 3), "Power": self.power_w}
        self.server.plug.answers = {
            "shelly": SHELLY | {"apower": self.power_w, "aenergy": watt_hours},
            "tasmota": {"StatusSNS": {"ENERGY": counted}},
        }

    def await_readings(self, recording: Recorder, count: int = 110) -> int:
        """Wait for so many readings, and return when the last of them was."""
        series = recording.series(self.name, "plug")
        enough = len(series) + count
        until(lambda: len(series) >= enough)
        return self.ns

    def is_right(self, row: WindowEnergy) -> bool:
        """Whether a row has the energy of its window, to a step of the register at both edges."""
        assert row.gross_j is not None, row.reason
        assert row.duration_s is not None
        step_j = {"plug": 0.0, "plug-register": 3600.0}[row.domain]
        return row.gross_j == pytest.approx(self.power_w * row.duration_s, rel=1e-6, abs=2 * step_j)


@pytest.fixture(params=["shelly", "tasmota"])
def load(request: pytest.FixtureRequest, server: Server, monkeypatch: pytest.MonkeyPatch) -> Load:
    return Load(server, request.param, monkeypatch)


def around(trouble: Callable[[Recorder], None], load: Load) -> list[dict[str, WindowEnergy]]:
    """Return by domain the rows of a window with some trouble in its middle, and of one after it."""
    with Recorder([make(f"{load.name}:{load.server.address}")], period_s=0.02) as recording:
        begin_ns = load.await_readings(recording, 2)
        load.await_readings(recording, 50)
        trouble(recording)
        end_ns = load.await_readings(recording, 60)
        later_ns = load.await_readings(recording)
        windows = [recording.energy(begin_ns, end_ns), recording.energy(end_ns, later_ns)]
    return [{row.domain: row for row in rows} for rows in windows]


def fail_for_a_while(recording: Recorder, load: Load, *, from_zero: bool = False) -> None:
    """Return when a reading has failed, a quarter of the window later by the plug's clock."""
    until(lambda: recording.overhead()[0].failures == 1)
    load.go_on(30, from_zero=from_zero)


def test_a_password_set_in_the_middle_of_a_run_spoils_the_window_and_no_later_one(load: Load) -> None:
    """What the plug itself counted meanwhile is known."""

    def set_and_taken_off(recording: Recorder) -> None:
        load.server.plug.password, load.server.plug.warns_with = "s3cret", 401
        fail_for_a_while(recording, load)
        load.server.plug.password = ""

    spoiled, later = around(set_and_taken_off, load)
    plug = spoiled["plug"]
    assert (plug.gross_j, plug.net_j, plug.provenance) == (None, None, "unavailable")
    failed = f"the meter failed: meter '{load.name}' at {load.server.address}: the plug wants a password (HTTP 401)"
    assert str(plug.reason).startswith(f"{failed} (samples are missing for ")
    assert all(map(load.is_right, (spoiled["plug-register"], *later.values())))


@pytest.mark.parametrize("from_zero", [False, True])
def test_a_plug_that_restarts_in_the_middle_of_a_run_spoils_the_window_and_no_later_one(
    load: Load, from_zero: bool
) -> None:
    def restart(recording: Recorder) -> None:
        server, port = load.server, load.server.port
        server.stop()
        fail_for_a_while(recording, load, from_zero=from_zero)
        again = Server(port)
        again.http.RequestHandlerClass = server.plug
        server.http, server.thread = again.http, again.thread

    spoiled, later = around(restart, load)
    plug, register = spoiled["plug"], spoiled["plug-register"]
    assert plug.gross_j is None
    failed = f"the meter failed: meter '{load.name}' at {load.server.address}: "
    assert re.match(rf"{re.escape(failed)}[^<\[]+ \(samples are missing for", str(plug.reason))
    if from_zero:
        assert register.gross_j is None
        assert re.match(
            rf"{re.escape(failed)}[^<\[]+ \(the counter started again in the window", str(register.reason)
        )
    else:
        assert load.is_right(register)
    assert all(map(load.is_right, later.values()))


def test_a_register_that_is_set_back_to_zero_spoils_its_own_window_alone(load: Load) -> None:
    def set_back(recording: Recorder) -> None:
        load.go_on(from_zero=True)

    spoiled, later = around(set_back, load)
    register = spoiled.pop("plug-register")
    assert (register.gross_j, register.net_j, register.provenance) == (None, None, "unavailable")
    assert str(register.reason).startswith("the counter started again in the window")
    assert all(map(load.is_right, (*spoiled.values(), *later.values())))


def until(happened: Callable[[], bool], limit_s: float = 60.0) -> None:
    end_s = time.monotonic() + limit_s
    while not happened():
        assert time.monotonic() < end_s, "it never happened"
        time.sleep(0.005)


def test_no_address_no_answer_and_no_meter(server: Server) -> None:
    assert "192.168" in str(make("shelly").probe().hint)
    with pytest.raises(MeterUnavailableError, match="does not answer"):
        make("tasmota:127.0.0.1:9").open()
    server.plug.body = b'{"id": 0, "output": true}'
    with pytest.raises(MeterUnavailableError, match="no power meter"):
        make(f"shelly:{server.address}").open()


def test_the_digest_of_the_standards_own_example() -> None:
    # RFC 7616, section 3.9.1.
    challenge = (
        'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=SHA-256,'
        ' nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="x"'
    )
    header = digest_login(
        challenge,
        urlsplit("http://www.example.org/dir/index.html"),
        "Mufasa",
        "Circle of Life",
        "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
    )
    assert 'response="753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"' in header
    with pytest.raises(LoginError, match="unknown kind"):
        digest_login('Digest algorithm=SHA-512, nonce="x"', urlsplit("http://a/b"), "u", "p")


@pytest.mark.parametrize("challenge", ["Digest", "Digest nonce=", "Digest nonce", 'Digest a="b", nonce='])
def test_a_challenge_that_cannot_be_read_is_a_login_error(challenge: str) -> None:
    with pytest.raises(LoginError, match=r"unknown kind|words of its own"):
        digest_login(challenge, urlsplit("http://a/b"), "u", "p")


KEYS = st.sampled_from(["apower", "aenergy", "total", "StatusSNS", "ENERGY", "Power", "Total", "WARNING"])
JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=True) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_no_json_crashes_the_parsers(answer: Any) -> None:
    for parse in (ShellyMeter.parse, TasmotaMeter.parse):
        try:
            power_w, register_j = parse(answer)
        except (ValueError, LoginError):
            continue
        assert abs(power_w) < 1e12
        assert register_j is None or abs(register_j) < 1e19


def test_numbers_are_numbers() -> None:
    assert number({"a": {"b": 2}}, "a", "b") == 2.0
    assert number({"a": {}}, "a", "b") is None
    with pytest.raises(ValueError, match="not a number"):
        number({"a": float("nan")}, "a")
