"""The machines of the factory, by name."""

from .bearing import BEARING
from .fan import FAN
from .gearbox import GEARBOX
from .machine import Machine
from .pump import PUMP
from .slider import SLIDER
from .valve import VALVE


MACHINES = {machine.name: machine for machine in (FAN, PUMP, GEARBOX, BEARING, VALVE, SLIDER)}

__all__ = ["MACHINES", "Machine"]
