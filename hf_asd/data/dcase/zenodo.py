"""
Where the recordings of DCASE Task 2 lie: the Zenodo records of every year, their archives and machines.

Sizes and MD5 sums are not written down here, they are read from the record itself (`/api/records/<number>`).
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Record:
    """
    One Zenodo record: a part of a year's recordings.

    Args:
        part (`str`): `"dev"` (development), `"train"` (additional training: the normal clips of the evaluation
            machines) or `"eval"` (the clips that are evaluated).
        number (`int`): of the record, as in `https://zenodo.org/records/<number>`.
        archive (`str`): name of an archive, with `{}` for the machine.
        machines (`tuple[str, ...]`): one archive each.
        replaced (`dict[str, str]`, *optional*): machine -> the archive that replaced its first one.
    """

    part: str
    number: int
    archive: str
    machines: tuple[str, ...]
    replaced: dict[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        """The folder that the machines' folders are unpacked into."""
        return "dev_data" if self.part == "dev" else "eval_data"

    def archives(self) -> dict[str, str]:
        """Machine -> name of its archive."""
        return {machine: self.archive.format(machine) for machine in self.machines} | self.replaced


MACHINES_2020 = ("ToyCar", "ToyConveyor", "fan", "pump", "slider", "valve")
MACHINES_2021 = ("ToyCar", "ToyTrain", "fan", "gearbox", "pump", "slider", "valve")
MACHINES_2022 = ("ToyCar", "ToyTrain", "bearing", "fan", "gearbox", "slider", "valve")
NEW_IN_2023 = ("ToyDrone", "ToyNscale", "ToyTank", "Vacuum", "bandsaw", "grinder", "shaker")
NEW_IN_2024 = (
    *("3DPrinter", "AirCompressor", "BrushlessMotor", "HairDryer", "HoveringDrone"),
    *("RoboticArm", "Scanner", "ToothBrush", "ToyCircuit"),
)
NEW_IN_2025 = (
    *("AutoTrash", "BandSealer", "CoffeeGrinder", "HomeCamera", "Polisher", "ScrewFeeder", "ToyPet", "ToyRCCar"),
)
MACHINES_2026 = ("ToyCar", "ToyCarEmu", "bearingEmu", "fan", "gearboxEmu", "sliderEmu", "valveEmu")
NEW_IN_2026 = ("BlowerDustCollector", "Sander", "SewingMachine", "ToothBrush", "ToyDrone")

RECORDS = {
    2020: [
        Record("dev", 3678171, "dev_data_{}.zip", MACHINES_2020),
        Record("train", 3727685, "eval_data_train_{}.zip", MACHINES_2020),
        Record("eval", 3841772, "eval_data_test_{}.zip", MACHINES_2020),
    ],
    2021: [
        Record("dev", 4562016, "dev_data_{}.zip", MACHINES_2021),
        Record("train", 4660992, "eval_data_{}_train.zip", MACHINES_2021),
        Record("eval", 4884786, "eval_data_{}_test.zip", MACHINES_2021),
    ],
    2022: [
        Record("dev", 6355122, "dev_{}.zip", MACHINES_2022),
        Record("train", 6462969, "eval_data_{}_train.zip", MACHINES_2022),
        Record("eval", 6586456, "eval_data_{}_test.zip", MACHINES_2022),
    ],
    2023: [
        Record("dev", 7882613, "dev_{}.zip", MACHINES_2022),
        Record("train", 7830345, "eval_data_{}_train.zip", NEW_IN_2023),
        Record("eval", 7860847, "eval_data_{}_test.zip", NEW_IN_2023),
    ],
    2024: [
        Record("dev", 10902294, "dev_{}.zip", MACHINES_2022),
        Record(
            "train",
            11259435,
            "eval_data_{}_train.zip",
            NEW_IN_2024,
            {machine: f"eval_data_{machine}_train_r2.zip" for machine in ("3DPrinter", "RoboticArm")},
        ),
        Record("eval", 11363076, "eval_data_{}_test.zip", NEW_IN_2024),
    ],
    2025: [
        Record("dev", 15097779, "dev_{}.zip", MACHINES_2022),
        Record("train", 15392814, "eval_data_{}_train.zip", NEW_IN_2025),
        Record("eval", 15519362, "eval_data_{}_test.zip", NEW_IN_2025),
    ],
    2026: [
        Record("dev", 19336329, "dev_{}.zip", MACHINES_2026, {"ToyCar": "dev_ToyCar_r2.zip"}),
        Record("train", 20151556, "eval_data_{}_train.zip", NEW_IN_2026),
        Record("eval", 20437238, "eval_data_{}_test.zip", NEW_IN_2026),
    ],
}


def years_of(machine: str) -> list[int]:
    """The years whose evaluation brought a machine; empty for machines of the first years, which stay in use."""
    if machine in {*MACHINES_2020, *MACHINES_2021, *MACHINES_2022}:
        return []
    return [year for year, records in RECORDS.items() if any(machine in record.machines for record in records)]
