"""The detector as a service: one handler of the log, one loop for each domain."""

from restow.runtime.service import Context, Loop, Service
from restow_detector import metrics
from restow_detector.handler import DetectorHandler
from restow_detector.looking import DomainLoop
from restow_detector.policy_keeper import PolicyKeeper
from restow_detector.settings import settings_from


def build(context: Context) -> Service:
    """Raises BadInputError where a setting is wrong."""
    settings = settings_from(context.environment)
    policies = PolicyKeeper(context, settings.policy_file)
    domains = tuple(str(domain) for domain in context.clouds.domains())
    metrics.start_at_zero(domains)
    loops = ((domain, DomainLoop(context, settings, domain, policies)) for domain in domains)
    return Service(
        name="detector",
        handlers=(DetectorHandler(context, policies),),
        loops=tuple(Loop(f"detector/{domain}", loop.run) for domain, loop in loops),
        checks=(("database", context.database.ping),),
    )
