"""A cloud with physics and trouble, repeatable by its seed: the embedded default and the test bed."""

from restow.cloud.simulated.cloud import Call, SimulatedCloud, SimulatedClouds
from restow.cloud.simulated.ledger import Broken, Held
from restow.cloud.simulated.options import SimulationOptions

__all__ = ["Broken", "Call", "Held", "SimulatedCloud", "SimulatedClouds", "SimulationOptions"]
