"""The file names of DCASE recordings: what they say about a clip, and the `clip_id` made from them."""

import re
from pathlib import Path

from .years import YEARS, year_rules


# Such as section_00_machine_source_0000_noAttribute; in descriptions the words before the number are in another order.
SUPPLEMENTAL_NAME = r"section_(?P<section>\d\d)_(?P<words>[A-Za-z_]+)_(?P<number>\d{4})(?:_(?P<attributes>.*))?"
NO_ATTRIBUTE = ("", "noAttribute")  # values that stand for hidden attributes


def parse_name(file: Path, split: str, year: int) -> dict:
    """
    Reads `section`, `domain`, `condition` and `attributes` of a clip from its file name.

    Args:
        file (`Path`): the file, inside the folder of its split.
        split (`str`): `"train"`, `"test"` or `"supplemental"`.
        year (`int`): the challenge year.

    Raises:
        ValueError: the name is not one of that year, or contradicts the folder.
    """
    if split == "supplemental":
        return _parse_supplemental(file, year)
    rules = year_rules(year)
    found = match_name(file.stem, year)
    parts = found.groupdict() if found else {}
    is_complete = found and (split == "test" or parts.get("condition"))
    if not is_complete or (split == "test" and file.parent.name not in rules.test_folders):
        others = [other for other in YEARS if other != year and match_name(file.stem, other)]
        hint = f" It looks like {others[0]}" + (f" or {others[-1]}." if others[1:] else ".") if others else ""
        folders = " and ".join(f"{folder}/" for folder in rules.test_folders)
        raise ValueError(
            f"{file}: unknown file name for {year}, whose clips are named like {rules.example_name} and whose test "
            f"clips are in {folders}.{hint} Give the right year, or move the file elsewhere."
        )
    if parts.get("split") and parts["split"] != split:
        raise ValueError(f"{file}: is in {file.parent.name}/ but its name is that of a {parts['split']} clip.")
    if file.parent.name.endswith("_test") and parts["domain"] != file.parent.name.removesuffix("_test"):
        raise ValueError(f"{file}: is in {file.parent.name}/ but its name is that of a {parts['domain']} clip.")
    if split == "train" and parts["condition"] == "anomaly":
        raise ValueError(f"{file}: is an anomaly by its name, but training clips are normal. Move it to test/.")
    return {
        "section": parts["section"],
        "domain": parts.get("domain") or "unknown",
        "condition": parts.get("condition") or "unknown",
        "attributes": attributes_from_name(parts.get("attributes")),
    }


def match_name(stem: str, year: int) -> re.Match | None:
    """The match of a file name without ending with the names of a year, except for supplemental clips."""
    return next(filter(None, (re.fullmatch(pattern, stem) for pattern in year_rules(year).clip_names)), None)


def _parse_supplemental(file: Path, year: int) -> dict:
    found = re.fullmatch(SUPPLEMENTAL_NAME, file.stem)
    if not year_rules(year).has_supplemental or not found:
        first = min(other for other, rules in YEARS.items() if rules.has_supplemental)
        why = (
            "accepted are names like section_00_<words>_0000..."
            if year_rules(year).has_supplemental
            else f"there are supplemental clips since {first}"
        )
        raise ValueError(f"{file}: unknown file in a folder of {year}; {why}.")
    words = found["words"].split("_")
    return {
        "section": found["section"],
        "domain": next((word for word in words if word in ("source", "target")), "unknown"),
        "condition": "unknown" if is_noise_only(file.stem) else "normal",
        "attributes": attributes_from_name(found["attributes"]),
    }


def is_noise_only(clip_id: str) -> bool:
    """Whether a supplemental clip holds background noise without the machine, from its `clip_id`."""
    found = re.fullmatch(SUPPLEMENTAL_NAME, clip_id.rsplit("/", 1)[-1])
    # Only the words before the number count: `noise` is also an attribute of ToyCar.
    return found is not None and "noise" in found["words"].split("_")


def attributes_from_name(text: str | None) -> dict[str, str]:
    """
    `"car_A1_spd_28V"` -> `{"car": "A1", "spd": "28V"}`. An odd number of words becomes one attribute, `name`, so that
    equal names still give equal attributes.
    """
    if not text or text in NO_ATTRIBUTE:
        return {}
    words = text.split("_")
    return {"name": text} if len(words) % 2 else dict(zip(words[::2], words[1::2], strict=True))


def split_from_name(name: str) -> str:
    """The split in a clip's name; names without one, of evaluation clips and RoboticArm in 2024, are test clips."""
    words = name.split("_")
    return next((split for split in ("train", "supplemental") if split in words), "test")


def make_clip_id(machine: str, split: str, name: str) -> str:
    """`<machine>/<split>/<name without folder and ending>`."""
    return f"{machine}/{split}/{name_stem(name)}"


def name_stem(name: str) -> str:
    """
    A file's name without folder and `.wav`. Some tables list files with the machine's folder, some without an ending,
    and values such as `ac_0.01` contain dots.
    """
    return name.rsplit("/", 1)[-1].removesuffix(".wav")
