"""What meters asked over HTTP share: a request with a timeout, a login, JSON, and two domains."""

import hashlib
import http.client
import json
import os
import secrets
import urllib.error
import urllib.request
from abc import abstractmethod
from typing import Any
from urllib.parse import quote, urlsplit

from power.base import Domain, Meter, Sample, Setting, now_ns
from power.errors import MeterReadError, MeterUnavailableError, cause_of

TIMEOUT_S = 2.0
#: Where the password comes from: never the command line, which ends up in records and process lists.
PASSWORD = "HARNESS_PLUG_PASSWORD"
_LARGEST_ANSWER = 1 << 20


class LoginError(OSError):
    """The plug wants a password, or another one."""


def get_json(url: str, user: str = "", password: str = "") -> Any:
    """Return the JSON that `url` answers with, within `TIMEOUT_S`.

    Raises `LoginError` for 401, `OSError` for every other failure to get an answer, `ValueError` for an
    answer that is no JSON. A digest login (RFC 7616; urllib's own knows no SHA-256) is made where asked for.
    """
    try:
        return _get(url, {})
    except urllib.error.HTTPError as error:
        challenge = error.headers.get("WWW-Authenticate", "")
        error.close()
        if error.code != 401:
            raise OSError(f"HTTP {error.code} {error.reason}") from error
        if not password or not challenge.lower().startswith("digest"):
            wants = "refused the password" if password else "wants a password"
            raise LoginError(f"the plug {wants} (HTTP 401)") from error
    try:
        return _get(url, {"Authorization": digest_login(challenge, urlsplit(url), user, password)})
    except urllib.error.HTTPError as error:
        error.close()
        kind = LoginError if error.code == 401 else OSError
        raise kind(f"the plug refused the login (HTTP {error.code})") from error


def _get(url: str, headers: dict[str, str]) -> Any:
    # No proxy: a plug is on the local network.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_S) as answer:
            text = answer.read(_LARGEST_ANSWER)
            if answer.length:  # bytes that were announced and did not come
                raise OSError(f"the answer broke off {answer.length} bytes before its end")
            return json.loads(text)
    except http.client.HTTPException as error:
        raise OSError(f"the answer broke off: {type(error).__name__}") from error
    except RecursionError as error:
        raise ValueError("the answer is nested too deeply") from error


def digest_login(challenge: str, url: Any, user: str, password: str, cnonce: str | None = None) -> str:
    """Return the Authorization header for a digest challenge with qop=auth (RFC 7616, 3.4). Raises `LoginError`."""
    try:
        fields = urllib.request.parse_keqv_list(urllib.request.parse_http_list(challenge.partition(" ")[2]))
    except (ValueError, IndexError) as error:  # no `name=value`, or no value
        raise LoginError(f"the plug asks for a login in words of its own: {challenge!r}") from error
    algorithm = fields.get("algorithm", "MD5")
    kind = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}.get(algorithm.upper())
    if kind is None or "nonce" not in fields:
        raise LoginError(f"the plug wants a login of an unknown kind ({algorithm})")

    def digest(text: str) -> str:
        return kind(text.encode()).hexdigest()

    path = f"{url.path}?{url.query}" if url.query else url.path
    cnonce = cnonce or secrets.token_hex(8)
    realm, nonce = fields.get("realm", ""), fields["nonce"]
    secret, request = digest(f"{user}:{realm}:{password}"), digest(f"GET:{path}")
    response = digest(f"{secret}:{nonce}:00000001:{cnonce}:auth:{request}")
    return (
        f'Digest username="{user}", realm="{realm}", nonce="{nonce}", uri="{path}", algorithm={algorithm}, '
        f'qop=auth, nc=00000001, cnonce="{cnonce}", response="{response}"'
    )


class HttpPlug(Meter):
    """A plug on the local network: power at the wall, the losses of the power supply included."""

    period_s = 1.0
    #: Path and query that ask for a reading, the user name of a login, and the register's step in J.
    question: str
    user = "admin"
    register_step_j: float
    register_update_s: float
    resolution_w: float
    gain_limit: float

    @staticmethod
    @abstractmethod
    def parse(answer: Any) -> tuple[float, float | None]:
        """Return power in W and register in J (None: it has none). Raises `ValueError`."""

    @property
    def domains(self) -> tuple[Domain, ...]:
        """The plug by integrated power, and inside it the plug by register (for very long windows)."""
        covered = "everything behind the plug, the losses of its power supply included"
        return (
            Domain(
                "plug",
                "power",
                covered,
                update_s=1.0,
                resolution_w=self.resolution_w,
                gain_limit=self.gain_limit,
                max_power_w=4000.0,
            ),
            Domain(
                "plug-register",
                "energy",
                f"{covered}, as the plug itself counts it",
                parent="plug",
                update_s=self.register_update_s,
                resolution_j=self.register_step_j,
                gain_limit=self.gain_limit,
                max_power_w=4000.0,
            ),
        )

    def open(self) -> None:
        """Ask the plug once. Raises `MeterUnavailableError`: no address, no answer, a login, no meter."""
        if not self.argument:
            raise MeterUnavailableError(
                self.name, "no address was given", f"--meter {self.name}:192.168.1.20"
            )
        try:
            self._ask()
        except LoginError as error:
            raise MeterUnavailableError(self.name, str(error), f"export {PASSWORD}=...") from error
        except (OSError, ValueError) as error:
            raise MeterUnavailableError(
                self.name, f"{self.argument} does not answer: {cause_of(error)}"
            ) from error

    def read(self) -> list[Sample]:
        """Ask for one reading; its instant is the middle of the request."""
        before_ns = now_ns()
        try:
            power_w, register_j = self._ask()
        except (OSError, ValueError) as error:
            raise MeterReadError(f"meter '{self.name}' at {self.argument}: {cause_of(error)}") from error
        t_ns = (before_ns + now_ns()) // 2
        samples = [Sample(t_ns, "plug", power_w=power_w)]
        if register_j is not None:
            samples.append(Sample(t_ns, "plug-register", energy_j=register_j))
        return samples

    def close(self) -> None:
        """Nothing stays open between requests."""

    def settings(self) -> dict[str, Setting]:
        """Return the address."""
        return {"address": self.argument}

    def url(self, password: str) -> str:
        """Return the address of a reading; a plug that takes its login there puts it in."""
        del password
        return f"http://{quote(self.argument, safe=':[].-_')}{self.question}"

    def _ask(self) -> tuple[float, float | None]:
        password = os.environ.get(PASSWORD, "")
        return self.parse(get_json(self.url(password), self.user, password))


def number(answer: Any, *path: str) -> float | None:
    """Return the number at a path of keys; None where there is none. Raises `ValueError` otherwise."""
    for key in path:
        if not isinstance(answer, dict):
            raise ValueError(f"no '{'.'.join(path)}' in the answer")
        answer = answer.get(key)
        if answer is None:
            return None
    if isinstance(answer, bool) or not isinstance(answer, (int, float)) or not abs(answer) < 1e12:
        raise ValueError(f"'{'.'.join(path)}' is not a number")
    return float(answer)
