"""`tasmota:ADDRESS`: plugs that run Tasmota, by their local HTTP.

`/cm?cmnd=Status%2010` answers with `StatusSNS.ENERGY`: `Power` (W, without decimals unless `WattRes` is set)
and `Total` (kWh). A password is a part of the query, for the user `admin` (tasmota.github.io, Commands: Web
Requests); without it, or with another one, Tasmota answers with a warning instead of a status: with HTTP 200 in older
versions, 401 in newer ones.
"""

from typing import Any
from urllib.parse import quote

from power.meters.http_plug import HttpPlug, LoginError, number


class TasmotaMeter(HttpPlug):
    """A plug with Tasmota. Its meter chips are as good as their calibration: ±3 % is assumed."""

    name = "tasmota"
    question = "/cm?cmnd=Status%2010"
    register_step_j = 3600.0
    register_update_s = 1.0
    resolution_w = 1.0
    gain_limit = 0.03

    def url(self, password: str) -> str:
        """Return the address of a reading, with the login where there is one."""
        login = f"&user={self.user}&password={quote(password, safe='')}" if password else ""
        return super().url(password) + login

    @staticmethod
    def parse(answer: Any) -> tuple[float, float | None]:
        """Return power (W) and register (J). Raises `ValueError`, or `LoginError` for the warning."""
        if isinstance(answer, dict) and "WARNING" in answer:
            raise LoginError("the plug wants a password, or another one")
        power_w = number(answer, "StatusSNS", "ENERGY", "Power")
        if power_w is None:
            raise ValueError("no 'StatusSNS.ENERGY.Power' in the answer: this plug has no power meter")
        kilowatt_hours = number(answer, "StatusSNS", "ENERGY", "Total")
        return power_w, None if kilowatt_hours is None else kilowatt_hours * 3.6e6
