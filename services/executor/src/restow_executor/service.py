"""The executor as a service: its handler, its loop, its check."""

from restow.database.leases import Leases
from restow.runtime.service import Context, Loop, Service
from restow_executor.driver import Driver
from restow_executor.handler import ExecutorHandler
from restow_executor.journal import Journal
from restow_executor.settings import settings_from


def build(context: Context) -> Service:
    """What the runtime runs. Raises BadInputError for a wrong setting."""
    settings = settings_from(context.environment)
    leases = Leases(context.database, context.clock, holder=context.instance, ttl_s=settings.lease_ttl_s)
    journal = Journal(context.database, leases)
    driver = Driver(journal, leases, settings.lease_ttl_s, settings.idle_s, context.clouds, context.clock)
    handler = ExecutorHandler(context, driver.wake)
    return Service(
        name="executor",
        handlers=(handler,),
        loops=(Loop("executor", driver.run),),
        checks=(("database", journal.ping),),
    )
