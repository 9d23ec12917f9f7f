"""Frequencies as multiples of the shaft's speed, and the defect frequencies of a rolling bearing."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from .words import Reason


LEAST_HZ, TONE_SHARE = 1.0, 0.015  # how exactly the frequency of a tone is known: lines 2 Hz apart, 24 to an octave
UNCERTAIN = 0.25  # of the shaft's frequency: tones that are known less exactly have no tenths of an order
SLIP = 0.02  # rolling elements slip by one or two percent (Randall and Antoni 2011)
HARMONICS = 3  # of a defect frequency that are looked for
PARTS = {"BPFO": "outer race", "BPFI": "inner race", "BSF": "rolling element", "FTF": "cage"}


@dataclass(frozen=True)
class Bearing:
    """
    Args:
        elements (`int`): rolling elements of one row.
        element_diameter, pitch_diameter (`float`): in one unit.
        contact_degrees (`float`, *optional*, defaults to 0): contact angle.
    """

    elements: int
    element_diameter: float
    pitch_diameter: float
    contact_degrees: float = 0.0

    def __post_init__(self):
        is_possible = 0 < self.element_diameter < self.pitch_diameter and self.elements >= 3
        if not (is_possible and 0 <= self.contact_degrees < 90):
            raise ValueError(
                f"bearing is {self.elements} elements of {self.element_diameter:g} on a pitch diameter of "
                f"{self.pitch_diameter:g} with {self.contact_degrees:g} degrees; accepted are 3 elements or more, "
                "smaller than the pitch diameter, and an angle from 0 to below 90."
            )

    def orders(self) -> dict[str, float]:
        """
        Defect frequencies as multiples of the speed of the inner ring, the outer one at rest (R. B. Randall, J. Antoni
        2011, "Rolling element bearing diagnostics - A tutorial", Mechanical Systems and Signal Processing 25, eq. 1 to
        4): `BPFO` and `BPFI` (elements passing a place on the outer and inner race), `BSF` (spin of an element; a
        defect of it strikes twice a turn), `FTF` (cage).
        """
        ratio = self.element_diameter / self.pitch_diameter * math.cos(math.radians(self.contact_degrees))
        return {
            "BPFO": self.elements / 2 * (1 - ratio),
            "BPFI": self.elements / 2 * (1 + ratio),
            "BSF": self.pitch_diameter / (2 * self.element_diameter) * (1 - ratio**2),
            "FTF": (1 - ratio) / 2,
        }


# Of published test rigs, whose papers give the inner dimensions. Makers do not standardize these: those of other
# bearings are in the maker's calculator.
BEARINGS = {
    "6205-2RS-JEM": Bearing(9, 0.3126, 1.537),  # SKF, inches: Case Western Reserve University, drive end
    "6203-2RS-JEM": Bearing(8, 0.2656, 1.122),  # SKF, inches: the same, fan end
    "ZA-2115": Bearing(16, 0.331, 2.815, 15.17),  # Rexnord, inches: IMS, University of Cincinnati
    "UER204": Bearing(8, 7.92, 34.55),  # LDK, millimeters: XJTU-SY
}


def parse_bearing(words: Sequence[str]) -> Bearing:
    """
    A bearing by its name in [`BEARINGS`], or by its dimensions: elements, their diameter, pitch diameter, and the
    contact angle in degrees.

    Raises:
        ValueError: it is something else.
    """
    if len(words) == 1 and words[0].upper() in BEARINGS:
        return BEARINGS[words[0].upper()]
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        numbers = []
    if len(numbers) not in (3, 4) or numbers[0] != int(numbers[0]):
        raise ValueError(
            f"bearing is {' '.join(words)}; accepted are {', '.join(BEARINGS)}, or the dimensions: number of rolling "
            "elements, their diameter, the pitch diameter and the contact angle in degrees, such as 9 7.94 39.04 0."
        )
    return Bearing(int(numbers[0]), *numbers[1:])


@dataclass(frozen=True)
class Shaft:
    """
    Args:
        speed (`float`): in revolutions a minute.
        bearing ([`Bearing`], *optional*): on this shaft.
    """

    speed: float
    bearing: Bearing | None = None

    @property
    def hertz(self) -> float:
        """Revolutions a second."""
        return self.speed / 60

    def name(self, hertz: float, is_spacing: bool = False) -> str:
        """
        A frequency beside the shaft's.

        Args:
            hertz (`float`): of a tone, or the distance of sidebands.
            is_spacing (`bool`, *optional*, defaults to `False`): whether it is such a distance.

        Returns:
            `str`: such as `"2.0 x shaft speed"`, and the defect frequency that lies there.
        """
        order, width = hertz / self.hertz, max(LEAST_HZ, TONE_SHARE * hertz)
        whole = round(order)
        if width > UNCERTAIN * self.hertz:
            text = f"about {order:.0f} x shaft speed"
        else:
            is_whole = whole > 0 and abs(order - whole) * self.hertz <= width
            text = f"{whole if is_whole else order:.1f} x shaft speed"
        found = None if self.bearing is None else self._defect(hertz, width, is_spacing)
        return text if found is None else f"{text}, at {found}"

    def _defect(self, hertz: float, width: float, is_spacing: bool) -> str | None:
        """The defect frequency, its multiple or sideband that lies nearest; `None` where none is near."""
        nearest: tuple[float, str] | None = None
        for name, expected in self._defect_hertz(is_spacing):
            distance = abs(hertz - expected)
            if distance <= width + SLIP * expected and (nearest is None or distance < nearest[0]):
                nearest = distance, f"{name} ({expected:.4g} Hz)"
        return None if nearest is None else nearest[1]

    def _defect_hertz(self, is_spacing: bool) -> Iterable[tuple[str, float]]:
        """
        Names and frequencies; sidebands lie one turn of the shaft (inner race) or of the cage (element) beside, as the
        load on the defect changes with it.
        """
        assert self.bearing is not None
        orders = self.bearing.orders()
        for name, part in PARTS.items():
            for multiple in range(1, 2 if is_spacing else HARMONICS + 1):
                hertz = multiple * orders[name] * self.hertz
                label = f"{'' if multiple == 1 else f'{multiple} x '}{name} of the {part}"
                yield label, hertz
                side = {"BPFI": self.hertz, "BSF": orders["FTF"] * self.hertz}.get(name)
                if side is not None and not is_spacing:
                    other = "shaft speed" if name == "BPFI" else "FTF"
                    yield f"a sideband of {label}, {other} below", hertz - side
                    yield f"a sideband of {label}, {other} above", hertz + side


def name_orders(reasons: Sequence[Reason], shaft: Shaft) -> list[Reason]:
    """
    Reasons about tones and sidebands with their frequencies as multiples of the shaft's.

    Args:
        reasons (`Sequence[Reason]`): of a decision.
        shaft ([`Shaft`]): its speed when the recording was made.
    """
    return [replace(reason, text=order_text(vars(reason), shaft)) for reason in reasons]


def order_text(reason: dict, shaft: Shaft) -> str:
    """The text of a reason, given by its fields, with orders where it is about a tone or sidebands."""
    text = reason["text"]
    if reason["kind"] == "tone" and reason["low_hz"] and reason["high_hz"]:
        added = shaft.name(math.sqrt(reason["low_hz"] * reason["high_hz"]))
    elif reason["kind"] == "rhythm" and reason["spacing_hz"]:
        added = shaft.name(reason["spacing_hz"], is_spacing=True)
    else:
        return text
    head, comma, rest = text.partition(", ")
    return f"{head}, {added}{comma}{rest}"
