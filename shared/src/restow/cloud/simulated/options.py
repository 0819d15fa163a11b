"""How the simulated cloud behaves: durations, limits and habits, all with Nova's defaults where it has one; pure."""

from dataclasses import dataclass
from hashlib import blake2b

SOURCES = ("compute-service", "management-network", "storage")


@dataclass(frozen=True, slots=True)
class SimulationOptions:
    """Times are in seconds of the cloud's clock."""

    service_down_time_s: float = 60.0
    report_interval_s: float = 10.0
    heartbeat_sources: tuple[str, ...] = SOURCES
    live_migrations_per_source_max: int = 1  # more wait as "queued" (max_concurrent_live_migrations)
    link_mbps: int = 10_000  # of a host that does not tell its own
    decide_s: float = 1.0  # the scheduler's answer, after the request was taken
    prepare_s: float = 1.0
    completion_timeout_s: float | None = None  # then the copying is given up ("cancelled"); None: it goes on
    abort_s: float = 0.7
    cold_s: float = 20.0  # stop, resize, confirm; the disk is copied on top
    cold_copies_disk: bool = False
    evacuate_s: float = 10.0  # the guest's boot elsewhere, up to half as much again by chance
    record_s: float = 0.5  # from a rebuilt guest to the record of its new host
    start_s: float = 5.0
    stop_s: float = 5.0
    shelve_s: float = 5.0
    power_off_s: float = 3.0
    host_boot_s: float = 90.0
    unforce_s: float = 0.5
    guests_resume: bool = True  # resume_guests_state_on_host_boot
    crash_powers_off: float = 0.5  # share of crashes that also take the power
    load_period_s: float = 60.0  # load is sampled this often, as a metrics agent does
    load_daily: float = 0.3  # amplitude of the day, as a share of the server's own load
    load_noise: float = 0.15
    hot_share: float = 0.95  # how busy a hot host gets, as a share of its physical cores

    def __post_init__(self) -> None:
        assert self.live_migrations_per_source_max > 0
        assert self.load_period_s > 0
        assert self.decide_s >= 0


def chance(seed: int, *names: object) -> float:
    """A number in [0, 1) that depends on the seed and the names alone, so that no order of calls can change it."""
    text = "/".join(str(name) for name in (seed, *names))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) / 2**64
