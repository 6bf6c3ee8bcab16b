"""`shelly:ADDRESS`: Shelly plugs and relays of the second generation and newer, by their local HTTP.

`/rpc/Switch.GetStatus?id=0` answers with `apower` (W) and `aenergy.total` (Wh); the total is renewed about
once a minute. A password set on the plug is a digest login with SHA-256 for the user `admin`
(shelly-api-docs.shelly.cloud, Gen2 device API, Switch and Authentication).
"""

from typing import Any

from power.meters.http_plug import HttpPlug, number


class ShellyMeter(HttpPlug):
    """A Shelly plug. Accuracy differs by model and suffers at small loads: ±2 % is assumed."""

    name = "shelly"
    question = "/rpc/Switch.GetStatus?id=0"
    register_step_j = 3.6
    register_update_s = 60.0
    resolution_w = 0.1
    gain_limit = 0.02

    @staticmethod
    def parse(answer: Any) -> tuple[float, float | None]:
        """Return power (W) and register (J). Raises `ValueError`, also for a relay without a meter."""
        power_w = number(answer, "apower")
        if power_w is None:
            raise ValueError("no 'apower' in the answer: this model has no power meter")
        watt_hours = number(answer, "aenergy", "total")
        return power_w, None if watt_hours is None else watt_hours * 3600.0
