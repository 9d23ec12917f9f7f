from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, get_type_hints

import pytest

from hf_asd.options import accepted, check_options, default_text, option, parse_option


@dataclass
class Sound:
    kind: Literal["hum", "hiss"] = option("hum", "what it is like")
    filter: Literal["none", "low", "high"] | None = option(None, "what is removed")
    channel: int | Literal["mean"] = option(0, "which channel", at_least=0)
    gain: float | None = option(None, "in dB", above=-10, at_most=10)
    tones: list[float] = option(default_factory=list, help="in Hz")
    names: tuple[Literal["a", "b"], ...] | None = option(None, "some of them")
    extra: dict[str, int] = option(default_factory=dict, help="more")
    is_loud: bool = option(False, "loud")
    file: Path | None = option(None, "from a file")
    title: str = option("Sound", "its title")

    def __post_init__(self):
        check_options(self)


HINTS = get_type_hints(Sound)
FIELDS = {field.name: field for field in fields(Sound)}


def parsed(name, value):
    return parse_option(f"sound.{name}", value, HINTS[name], FIELDS[name].metadata)


@pytest.mark.parametrize("none", [None, "none", "None", "null", "~", ""])
def test_none_is_written_in_several_ways(none):
    for name in ("gain", "names", "file"):
        assert parsed(name, none) is None
    assert parsed("extra", none) == {}
    assert parsed("filter", none) == "none", "a word of its own"
    for name in ("kind", "channel", "is_loud", "tones"):
        with pytest.raises(ValueError, match=f"sound.{name} is none; accepted are "):
            parsed(name, none)


@pytest.mark.parametrize(
    ("name", "value", "result"),
    [
        ("kind", "hiss", "hiss"),
        ("channel", "3", 3),
        ("channel", "mean", "mean"),
        ("gain", "1e-1", 0.1),
        ("tones", ["50", 100], [50.0, 100.0]),
        ("names", ["a", "b"], ("a", "b")),
        ("is_loud", "true", True),
        ("file", "a.wav", Path("a.wav")),
        ("title", "3", "3"),
    ],
)
def test_values_are_parsed_from_text(name, value, result):
    assert parsed(name, value) == result


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("kind", "hum!", "sound.kind is 'hum!'; accepted are hum, hiss. Did you mean hum?"),
        ("channel", "men", "sound.channel is 'men'; accepted are whole numbers from 0, mean. Did you mean mean?"),
        ("channel", -1, "sound.channel is -1; accepted are whole numbers from 0, mean."),
        ("channel", True, "sound.channel is True; accepted are whole numbers from 0, mean."),
        ("gain", 11, "sound.gain is 11.0; accepted are numbers above -10 to 10, none."),
        ("gain", float("nan"), "sound.gain is nan; accepted are"),
        ("gain", "loud", "sound.gain is 'loud'; accepted are numbers above -10 to 10, none."),
        ("gain", True, "sound.gain is True; accepted are"),
        ("names", ["a", "c"], "sound.names is 'c'; accepted are a, b, a list of these, none. Did you mean"),
        ("names", "a", "sound.names is 'a'; accepted are a, b, a list of these, none."),
        ("tones", 5, "sound.tones is 5; accepted are a list."),
        ("is_loud", "loud", "sound.is_loud is 'loud'; accepted are true, false."),
    ],
)
def test_values_that_are_not_accepted_are_named(name, value, message):
    with pytest.raises(ValueError) as error:
        parsed(name, value)
    assert message in str(error.value)


def test_a_config_checks_itself():
    with pytest.raises(ValueError, match="kind is 'buzz'; accepted are hum, hiss"):
        Sound(kind="buzz")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="gain is -10; accepted are numbers above -10 to 10, none"):
        Sound(gain=-10)


def test_defaults_are_written_as_they_are_given():
    texts = {name: default_text(field, HINTS[name]) for name, field in FIELDS.items()}
    assert texts["kind"] == "hum" and texts["gain"] == "none" and texts["is_loud"] == "false"
    assert texts["tones"] == "none" and texts["filter"] == "not set"
    assert accepted(HINTS["extra"]) == "options by name, none" and accepted(HINTS["file"]) == "a path, none"
