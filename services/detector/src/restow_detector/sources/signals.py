"""Signals from outside (alerts, webhooks): kept while they fire, and read as evidence; pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from restow.cloud.port import Heartbeat
from restow.ids import HostName
from restow.messages.events import Signal
from restow_detector.health import SIGNALS

HOST_DOWN = "host-down"
KEPT_S = 3600.0  # a signal that is neither repeated nor taken back ends by itself
KEPT_MAX = 10_000  # per domain; beyond it the oldest give way


def key_of(signal: Signal) -> str:
    return "/".join((signal.source, signal.kind, signal.host or "", signal.server or ""))


def take(signals: dict[str, Signal], signal: Signal) -> bool:
    """Keep what fires, drop what is taken back; False if nothing has changed."""
    key = key_of(signal)
    if not signal.firing:
        return signals.pop(key, None) is not None
    known = signals.get(key)
    if known is not None and known.observed_at >= signal.observed_at:
        return False
    signals[key] = signal
    while len(signals) > KEPT_MAX:
        del signals[min(signals, key=lambda one: (signals[one].observed_at, one))]
    return True


def drop_old(signals: dict[str, Signal], *, now: datetime) -> None:
    oldest = now - timedelta(seconds=KEPT_S)
    for key in [key for key, signal in signals.items() if signal.observed_at < oldest]:
        del signals[key]


def words(signals: Mapping[str, Signal]) -> Iterable[Heartbeat]:
    """All of them together are one source: many alerts may come from one broken probe."""
    for signal in signals.values():
        if signal.kind == HOST_DOWN and signal.host:
            yield Heartbeat(SIGNALS, HostName(signal.host), alive=False, at=signal.observed_at)


def concerning(signals: Mapping[str, Signal], *, hosts: Iterable[str], servers: Iterable[str]) -> tuple[str, ...]:
    """The signals about these hosts and servers in words, evidence of the failure itself left out."""
    hosts, servers = frozenset(hosts), frozenset(servers)
    return tuple(
        sorted(
            text_of(signal)
            for signal in signals.values()
            if signal.server in servers or (signal.host in hosts and signal.kind != HOST_DOWN)
        )
    )


def text_of(signal: Signal) -> str:
    """One line that is the same for every repetition of a signal."""
    about = f"server {signal.server}" if signal.server else f"host {signal.host}" if signal.host else "the domain"
    return f"{signal.kind} of {about} (says {signal.source})"
