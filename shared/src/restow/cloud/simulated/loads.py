"""Load curves: a day's wave and noise around each server's own load, as a function of time alone; pure."""

from math import inf, pi, sin

from restow.cloud.model import Server
from restow.cloud.simulated.options import SimulationOptions, chance

DAY_S = 86_400.0
_MASK = 2**64 - 1


class LoadCurve:
    """The load of one server at any time. Where the server tells no cpu load there is no curve."""

    __slots__ = ("_base", "_cores_max", "_none", "_options", "_other", "_phase", "_salt")

    def __init__(self, server: Server, *, seed: int, options: SimulationOptions) -> None:
        self._base = server.load.get("cpu_cores")
        self._other = {name: value for name, value in server.load.items() if name != "cpu_cores"}
        self._none = dict.fromkeys(server.load, 0.0)
        self._cores_max = float(server.demand.get("vcpu", 0)) or inf
        self._options = options
        own = chance(seed, "load", server.id)
        # People work at the same hours: phases differ by a quarter of a day at most.
        self._phase = own * pi / 2
        self._salt = int(own * 2**63)

    def at(self, slot: int, *, running: bool, heat: float = 0.0) -> dict[str, float]:
        """The load in this slot, counted in load periods since 1970. `heat`: the share of its idle cores on top."""
        if not running:
            return self._none
        if self._base is None:
            return self._other
        cores = self._cores(slot)
        if heat and self._cores_max < inf:
            cores = round(cores + heat * (self._cores_max - cores), 4)
        return {"cpu_cores": cores, **self._other}

    def _cores(self, slot: int) -> float:
        assert self._base is not None
        options = self._options
        if options.load_daily == 0 and options.load_noise == 0:
            return min(self._base, self._cores_max)
        day = sin(2 * pi * slot * options.load_period_s / DAY_S + self._phase)
        noise = 2 * _mixed(self._salt + slot) / 2**64 - 1
        wanted = self._base * (1 + options.load_daily * day + options.load_noise * noise)
        return round(min(max(wanted, 0.0), self._cores_max), 4)


def _mixed(value: int) -> int:
    """Spreads neighbouring numbers over 64 bits (the finaliser of splitmix64, Steele, Lea and Flood, 2014)."""
    value = (value * 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)
