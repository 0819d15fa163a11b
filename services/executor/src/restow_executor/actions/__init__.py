"""Every action, one file each. To add one: write its file, name it here, test it."""

from collections.abc import Mapping

from restow.messages.plan import Action as Name
from restow_executor.actions.base import Action
from restow_executor.actions.cold_migrate import ColdMigrate
from restow_executor.actions.disable_host import DisableHost
from restow_executor.actions.enable_host import EnableHost
from restow_executor.actions.evacuate import Evacuate
from restow_executor.actions.fence import Fence
from restow_executor.actions.live_migrate import LiveMigrate
from restow_executor.actions.power_off import PowerOff
from restow_executor.actions.power_on import PowerOn
from restow_executor.actions.shelve import Shelve
from restow_executor.actions.start import Start
from restow_executor.actions.stop import Stop

ACTIONS: tuple[Action, ...] = (
    LiveMigrate(),
    ColdMigrate(),
    Evacuate(),
    Start(),
    Stop(),
    Shelve(),
    DisableHost(),
    EnableHost(),
    Fence(),
    PowerOff(),
    PowerOn(),
)

ACTION_BY_NAME: Mapping[Name, Action] = {action.name: action for action in ACTIONS}
