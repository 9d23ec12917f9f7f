"""
The years of DCASE Challenge Task 2 in one table: official score, file names, recordings and where they are published.

To add a year, add an entry to `YEARS`; checks, messages and help texts are made from it. This module imports nothing
of the package, because it is published together with the metric `dcase_score`.
"""

from dataclasses import dataclass, field
from typing import Literal


PartName = Literal["dev", "train", "eval"]  # development, additional training, evaluation


@dataclass(frozen=True)
class ZenodoRecord:
    """
    One Zenodo record: a part of a year's recordings. Sizes and MD5 sums are not listed here; they are read from the
    record itself (`/api/records/<number>`).

    Args:
        part (`str`): `"dev"` (development), `"train"` (additional training: the normal clips of the evaluation
            machines) or `"eval"` (the clips that are evaluated).
        number (`int`): the record's number, as in `https://zenodo.org/records/<number>`.
        archive (`str`): name of an archive, with `{}` for the machine.
        machines (`tuple[str, ...]`): the machines, one archive each.
        replaced (`dict[str, str]`, *optional*): machine -> the archive that replaced its first one.
    """

    part: PartName
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


# Names of clips. Evaluation clips of most years carry neither domain nor condition.
LABELED_NAME = (
    r"section_(?P<section>\d\d)_(?P<domain>source|target)_(?P<split>train|test)_(?P<condition>normal|anomaly)"
    r"_(?P<number>\d{4})(?:_(?P<attributes>.*))?"
)
SPLIT_IN_NAME = "_(?P<split>train|test)"


@dataclass(frozen=True)
class ChallengeYear:
    """
    The rules of one year. The defaults are those of 2025.

    Args:
        records (`tuple[ZenodoRecord, ...]`): where the recordings are published.
        terms (`tuple[str, ...]`): the terms of a machine's section that enter the official score.
        mean (`"harmonic"` or `"arithmetic"`): how the official score averages the terms.
        has_domains (`bool`): whether clips belong to a source and a target domain and the score needs to know which.
        anomalies_of_both_domains (`bool`): whether the AUC of a domain compares its normal clips with the anomalous
            clips of both domains, or only with its own.
        labeled_name, evaluation_name (`str`): regular expressions of file names without `.wav`: of labeled clips, and
            of evaluation clips.
        example_name (`str`): a file name for messages.
        test_folders (`tuple[str, ...]`): the folders of test clips inside a machine's folder.
        channels (`int`): number of channels of a recording.
        has_hidden_attributes (`bool`): whether some machines are published without their attributes.
        has_one_section (`bool`): whether each machine has one section, `00`.
        has_supplemental (`bool`): whether there are supplemental clips.
        has_decisions (`bool`): whether a submission holds decisions beside the scores.
        result_name (`str`): name of a submission file behind `anomaly_score_`, with fields in braces.
    """

    records: tuple[ZenodoRecord, ...]
    terms: tuple[str, ...] = ("auc_source", "auc_target", "pauc")
    mean: Literal["harmonic", "arithmetic"] = "harmonic"
    has_domains: bool = True
    anomalies_of_both_domains: bool = True
    labeled_name: str = LABELED_NAME
    evaluation_name: str = r"section_(?P<section>\d\d)_\d{4}"
    example_name: str = "section_00_source_train_normal_0000_<attributes>.wav"
    test_folders: tuple[str, ...] = ("test",)
    channels: int = 1
    has_hidden_attributes: bool = True
    has_one_section: bool = True
    has_supplemental: bool = True
    has_decisions: bool = True
    result_name: str = "{machine}_section_{section}_test"

    @property
    def clip_names(self) -> tuple[str, str]:
        """Regular expressions of all file names but those of supplemental clips."""
        return self.labeled_name, self.evaluation_name


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
RECURRING_MACHINES = frozenset({*MACHINES_2020, *MACHINES_2021, *MACHINES_2022})

YEARS = {
    2020: ChallengeYear(
        records=(
            ZenodoRecord("dev", 3678171, "dev_data_{}.zip", MACHINES_2020),
            ZenodoRecord("train", 3727685, "eval_data_train_{}.zip", MACHINES_2020),
            ZenodoRecord("eval", 3841772, "eval_data_test_{}.zip", MACHINES_2020),
        ),
        terms=("auc", "pauc"),
        mean="arithmetic",
        has_domains=False,
        # Machine ids instead of sections.
        labeled_name=r"(?P<condition>normal|anomaly)_id_(?P<section>\d\d)_(?P<number>\d{8})",
        evaluation_name=r"id_(?P<section>\d\d)_(\d{8})",
        example_name="normal_id_00_00000000.wav",
        has_hidden_attributes=False,
        has_one_section=False,
        has_supplemental=False,
        has_decisions=False,
        result_name="{machine}_id_{section}",
    ),
    2021: ChallengeYear(
        records=(
            ZenodoRecord("dev", 4562016, "dev_data_{}.zip", MACHINES_2021),
            ZenodoRecord("train", 4660992, "eval_data_{}_train.zip", MACHINES_2021),
            ZenodoRecord("eval", 4884786, "eval_data_{}_test.zip", MACHINES_2021),
        ),
        terms=("auc_source", "auc_target", "pauc_source", "pauc_target"),
        anomalies_of_both_domains=False,
        evaluation_name=r"section_(?P<section>\d\d)_(?P<domain>source|target)_test_\d{4}",
        test_folders=("source_test", "target_test"),
        has_hidden_attributes=False,
        has_one_section=False,
        has_supplemental=False,
        result_name="{machine}_section_{section}_{domain}_test",
    ),
    2022: ChallengeYear(
        records=(
            ZenodoRecord("dev", 6355122, "dev_{}.zip", MACHINES_2022),
            ZenodoRecord("train", 6462969, "eval_data_{}_train.zip", MACHINES_2022),
            ZenodoRecord("eval", 6586456, "eval_data_{}_test.zip", MACHINES_2022),
        ),
        has_hidden_attributes=False,
        has_one_section=False,
        has_supplemental=False,
    ),
    2023: ChallengeYear(
        records=(
            ZenodoRecord("dev", 7882613, "dev_{}.zip", MACHINES_2022),
            ZenodoRecord("train", 7830345, "eval_data_{}_train.zip", NEW_IN_2023),
            ZenodoRecord("eval", 7860847, "eval_data_{}_test.zip", NEW_IN_2023),
        ),
        has_hidden_attributes=False,
        has_supplemental=False,
    ),
    2024: ChallengeYear(
        records=(
            ZenodoRecord("dev", 10902294, "dev_{}.zip", MACHINES_2022),
            ZenodoRecord(
                "train",
                11259435,
                "eval_data_{}_train.zip",
                NEW_IN_2024,
                {machine: f"eval_data_{machine}_train_r2.zip" for machine in ("3DPrinter", "RoboticArm")},
            ),
            ZenodoRecord("eval", 11363076, "eval_data_{}_test.zip", NEW_IN_2024),
        ),
        # The names of RoboticArm's clips lack the split.
        labeled_name=LABELED_NAME.replace(SPLIT_IN_NAME, f"(?:{SPLIT_IN_NAME})?"),
        has_supplemental=False,
    ),
    2025: ChallengeYear(
        records=(
            ZenodoRecord("dev", 15097779, "dev_{}.zip", MACHINES_2022),
            ZenodoRecord("train", 15392814, "eval_data_{}_train.zip", NEW_IN_2025),
            ZenodoRecord("eval", 15519362, "eval_data_{}_test.zip", NEW_IN_2025),
        ),
    ),
    2026: ChallengeYear(
        records=(
            ZenodoRecord("dev", 19336329, "dev_{}.zip", MACHINES_2026, {"ToyCar": "dev_ToyCar_r2.zip"}),
            ZenodoRecord("train", 20151556, "eval_data_{}_train.zip", NEW_IN_2026),
            ZenodoRecord("eval", 20437238, "eval_data_{}_test.zip", NEW_IN_2026),
        ),
        channels=2,  # near the machine, and far from it
    ),
}
DEFAULT_YEAR = 2025
# Its official score can be computed where the domains of the clips are not known.
YEAR_WITHOUT_DOMAINS = next(year for year, rules in YEARS.items() if not rules.has_domains)
ACCEPTED_YEARS = f"{min(YEARS)} to {max(YEARS)}"


def year_rules(year: int) -> ChallengeYear:
    """
    The rules of a year.

    Raises:
        ValueError: the year is not in `YEARS`.
    """
    if year not in YEARS:
        raise ValueError(f"year is {year!r}; accepted are {ACCEPTED_YEARS}.")
    return YEARS[year]


def years_of_machine(machine: str) -> list[int]:
    """The years that introduced or reused a machine; empty for the machines of 2020 to 2022, which stay in use."""
    if machine in RECURRING_MACHINES:
        return []
    return [year for year, rules in YEARS.items() if any(machine in record.machines for record in rules.records)]
