"""The options of the simulated factory."""

from dataclasses import dataclass
from typing import Literal, get_args

from ..options import check_options, option


MachineName = Literal["fan", "pump", "gearbox", "bearing", "valve", "slider"]  # each is a module in `machines/`
MACHINE_NAMES: tuple[MachineName, ...] = get_args(MachineName)


@dataclass
class FactoryConfig:
    """What is simulated: machines, number of clips, signal-to-noise ratio."""

    machines: tuple[MachineName, ...] = option(MACHINE_NAMES, "machines of the factory")
    num_source_train: int = option(990, "normal training clips per machine, source domain", at_least=1, at_most=10_000)
    num_target_train: int = option(10, "normal training clips per machine, target domain", at_least=0, at_most=10_000)
    num_test: int = option(50, "test clips per machine, domain and condition", at_least=0, at_most=10_000)
    clip_seconds: float = option(10.0, "length of a clip in seconds", at_least=1, at_most=600)
    snr_db: float | tuple[float, float] = option(
        (0.0, 9.0),
        "level of the machine above the background noise in dB: a value, or lowest and highest",
        at_least=-100,
        at_most=100,
    )
    hidden_machines: int | None = option(
        None, "number of machines whose attributes are hidden; none: half of them", at_least=0
    )
    seed: int = option(0, "random seed; another seed gives another factory: other units, rooms and clips", at_least=0)
    num_workers: int | None = option(
        None, "clips simulated at the same time; none: one per processor. Does not change any clip", at_least=1
    )

    def __post_init__(self):
        self.machines = tuple(self.machines)
        check_options(self)
        if not self.machines or len(set(self.machines)) < len(self.machines):
            raise ValueError(f"machines is {list(self.machines)}; give one or more machines, each once.")
        if not isinstance(self.snr_db, int | float):
            levels = list(self.snr_db)
            if len(levels) != 2 or levels[0] > levels[1]:
                raise ValueError(f"snr_db is {levels}; accepted are a value or lowest and highest, in dB.")
            self.snr_db = (levels[0], levels[1])
        if self.hidden_machines is not None and self.hidden_machines > len(self.machines):
            raise ValueError(
                f"hidden_machines is {self.hidden_machines}; accepted are 0 to {len(self.machines)}, the machines."
            )

    @property
    def hidden(self) -> tuple[str, ...]:
        """The machines whose attributes are hidden, spread evenly over all."""
        count = len(self.machines)
        hidden = count // 2 if self.hidden_machines is None else self.hidden_machines
        places = [(i + 1) * count // hidden - 1 for i in range(hidden)]
        return tuple(self.machines[place] for place in places)
