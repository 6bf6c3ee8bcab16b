"""`nvml`: NVIDIA GPUs by their management library (`nvidia-ml-py`, an extra).

`nvmlDeviceGetTotalEnergyConsumption` counts mJ since the driver was loaded (Volta and newer); older cards
have `nvmlDeviceGetPowerUsage` (mW) only. The two can disagree: the power is an average over a window that
differs by card, so the counter is taken where there is one. NVML's documentation states ±5 % for the power;
the counter is renewed about every 100 ms or faster.
"""

from typing import Any

from power.base import Domain, Kind, Meter, Sample, now_ns
from power.errors import MeterReadError, MeterUnavailableError

HINT_INSTALL = "pip install 'edge-harness[meters]'"
_UPDATE_S, _GAIN = 0.1, 0.05


class NvmlMeter(Meter):
    """All GPUs of the machine, one domain each."""

    name = "nvml"
    period_s = 0.05

    def __init__(self, argument: str = "") -> None:
        super().__init__(argument)
        self._nvml: Any = None
        self._gpus: list[tuple[Any, Domain]] = []

    @property
    def domains(self) -> tuple[Domain, ...]:
        """One domain a GPU."""
        return tuple(domain for _, domain in self._gpus)

    def open(self) -> None:
        """Start NVML. Raises `MeterUnavailableError`: no library, no driver, no GPU that can be measured."""
        if self._gpus:
            return
        try:
            import pynvml
        except ImportError as error:
            reason = f"nvidia-ml-py is not installed ({error})"
            raise MeterUnavailableError(self.name, reason, HINT_INSTALL) from error
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            raise MeterUnavailableError(self.name, f"no NVIDIA driver answers: {error}") from error
        self._nvml = pynvml
        try:
            handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
            gpus = [(handle, self._domain(i, handle)) for i, handle in enumerate(handles)]
            self._gpus = [(handle, domain) for handle, domain in gpus if domain is not None]
        except pynvml.NVMLError as error:
            self.close()
            raise MeterUnavailableError(self.name, f"a GPU cannot be asked: {error}") from error
        if not self._gpus:
            self.close()
            raise MeterUnavailableError(self.name, "no GPU here reports energy or power")

    def read(self) -> list[Sample]:
        """Return one sample a GPU."""
        if self._nvml is None:
            raise MeterReadError(f"meter '{self.name}' is not open")
        try:
            return [self._sample(handle, domain) for handle, domain in self._gpus]
        except self._nvml.NVMLError as error:
            raise MeterReadError(f"meter '{self.name}': {error}") from error

    def close(self) -> None:
        """Shut NVML down."""
        nvml, self._nvml, self._gpus = self._nvml, None, []
        if nvml is not None:
            nvml.nvmlShutdown()

    def _domain(self, index: int, handle: Any) -> Domain | None:
        name = self._nvml.nvmlDeviceGetName(handle)
        name = name.decode() if isinstance(name, bytes) else str(name)
        kinds: tuple[Kind, ...] = ("energy", "power")
        for kind in kinds:
            try:
                self._value(handle, kind)
            except self._nvml.NVMLError:
                continue
            return Domain(
                f"gpu-{index}",
                kind,
                f"the board of {name}",
                update_s=_UPDATE_S,
                resolution_j=1e-3 if kind == "energy" else 0.0,
                resolution_w=1e-3 if kind == "power" else 0.0,
                gain_limit=_GAIN,
            )
        return None

    def _value(self, handle: Any, kind: Kind) -> float:
        if kind == "energy":
            return float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(handle)) * 1e-3
        return float(self._nvml.nvmlDeviceGetPowerUsage(handle)) * 1e-3

    def _sample(self, handle: Any, domain: Domain) -> Sample:
        before_ns = now_ns()
        value = self._value(handle, domain.kind)
        t_ns = (before_ns + now_ns()) // 2
        if domain.kind == "energy":
            return Sample(t_ns, domain.name, energy_j=value)
        return Sample(t_ns, domain.name, power_w=value)
