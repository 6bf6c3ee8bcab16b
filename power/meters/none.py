"""`none`: no meter. Its energy is unavailable, with the reason; it is never zero."""

from power.base import Domain, Meter, Probe, Sample


class NoneMeter(Meter):
    """Measures nothing and says so; the argument is the reason to be shown (`none:no meter was found`)."""

    name = "none"
    provenance = "unavailable"
    period_s = 1.0

    @property
    def absence(self) -> str:
        """Why there is no energy."""
        return self.argument or "no meter was selected; `harness doctor` shows which could be used"

    @property
    def domains(self) -> tuple[Domain, ...]:
        """One domain, so that the record holds a row that says why its energy is missing."""
        return (Domain("machine", "power", covers="nothing: no meter"),)

    def probe(self) -> Probe:
        """Say usable: choosing no meter always works."""
        return Probe(self.name, True, reason=self.absence)

    def open(self) -> None:
        """Do nothing."""

    def read(self) -> list[Sample]:
        """Return no sample."""
        return []

    def close(self) -> None:
        """Do nothing."""
