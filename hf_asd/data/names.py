"""What the name of a folder, a file or a column means, and what a label means."""

import re
import unicodedata
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

from . import trade_words as trade


CAMEL_CASE = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z]{2})(?=[A-Z][a-z])")
NUMBERS = re.compile(r"\d+")
CHUNK = re.compile(r"[^\W_]+")  # what stands between separators
# `ok2`, `01ok`: a word with its number. Letters and digits in turns are an id, which holds no words: `5bad3f`.
NUMBERED = re.compile(r"(\d*)([^\W\d]+)(\d*)")
ASIAN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")  # written without spaces

YEAR, TIME = r"(?P<y>20[1-4]\d)", r"(?:[t _.-]*\d\d[-_:.h]?\d\d(?:[-_:.m]?\d\d)?[sz]?)?"
DATES = [
    re.compile(rf"(?<![^\W_]){pattern}(?![^\W_])", re.IGNORECASE)
    for pattern in (
        rf"{YEAR}(?P<s>[-_. ]?)(?P<m>\d\d)(?P=s)(?P<d>\d\d){TIME}",
        rf"{YEAR}(?P<s>[-_. ])(?P<m>\d\d?)(?P=s)(?P<d>\d\d?){TIME}",
        rf"(?P<d>\d\d?)(?P<s>[-_. ])(?P<m>\d\d?)(?P=s){YEAR}{TIME}",
        rf"(?P<d>\d\d?)\.(?P<m>\d\d?)\.\d\d{TIME}",
        rf"(?P<y>1[5-9]|2\d|3\d)(?P<m>\d\d)(?P<d>\d\d)(?:[-_ t]{TIME})?",
        rf"{YEAR}[-_. ]?(?:w|kw|week)[-_ ]?\d\d(?:-?\d)?",
        rf"(?:w|kw|cw|week)[-_ ]?\d\d[-_. ]{YEAR}",
        rf"{YEAR}[-_. ](?P<m>\d\d)",
        rf"(?P<m>\d\d)[-_. ]{YEAR}",
    )
]
# These are sessions where nothing else stands in the name.
WHOLE_SESSIONS = re.compile(
    r"20[1-4]\d|(?:w|kw|cw)[-_ ]?\d\d"
    r"|(?:第?[\d一二三四五六七八九十]+(?:年|月份?|日目?|週目?|周|回目?|天|次|号|時|时))+"
    r"|[月火水木金土日]曜日?|(?:星期|周|週)[一二三四五六日天]",
    re.IGNORECASE,
)
PART_OF_DATE = re.compile(r"[\dtT\s_.:-]+")  # below a folder that is a date: 2026/11/01


@dataclass(frozen=True)
class Meaning:
    """
    What a name means; `None` where it says nothing.

    Args:
        condition (`str`, *optional*): `"normal"`, `"anomaly"` or `"unknown"`.
        split (`str`, *optional*): `"train"` or `"test"`.
        session (`str`, *optional*): the day, week or session that the name stands for.
        rest (`tuple[str, ...]`): words that mean nothing here: the name of a machine, an operating state.
        may_mean_fault (`bool`): words that mean a fault somewhere, or words that contradict each other.
        is_unclear (`bool`): it means two things: `test 1` is a split or the first test, `folder01` a day or a machine.
    """

    condition: str | None = None
    split: str | None = None
    session: str | None = None
    rest: tuple[str, ...] = ()
    may_mean_fault: bool = False
    is_unclear: bool = False

    @property
    def is_plain_condition(self) -> bool:
        """Whether the name says a condition and nothing else: `normal_01`, not `normal_speed`."""
        return self.condition is not None and not self.rest


def read_name(name: str, below_date: bool = False) -> Meaning:
    """
    Reads a name word by word.

    Args:
        name (`str`): of a folder, of a file without its suffix, of a column, or a label.
        below_date (`bool`, *optional*, defaults to `False`): whether the folder above is a date, so that a number
            belongs to it.
    """
    if below_date and PART_OF_DATE.fullmatch(name.strip()):
        return Meaning(session=name.strip())
    session, others = _cut_session(plain(name).strip())
    conditions, words, has_hint = _read_conditions(words_of(others))
    hedged = conditions - {"unknown"} and not HEDGES.isdisjoint(words)
    contradicts = bool(len(conditions) > 1 or hedged or (has_hint and "normal" in conditions))
    condition = None if contradicts or not conditions else conditions.pop()
    split, words = _read_split(words, condition)
    if session is None and (session := _session_of_words(words)):
        session = name.strip() if condition is None and split is None else session
        words = []
    rest = [word for word in words if word not in FILLERS and not word.isdecimal()]
    has_number = any(word.isdecimal() for word in words)
    has_filler = any(word in FILLERS for word in words)
    is_only_number = has_number and not (condition or split or session or rest or has_filler)
    return Meaning(
        condition=condition,
        split=split,
        session=session,
        rest=tuple(words if is_only_number else rest),
        may_mean_fault=contradicts or (has_hint and condition is None),
        is_unclear=has_number and not (condition or session or rest) and not is_only_number,
    )


def read_file_name(name: str) -> Meaning:
    """As [`read_name`], for what a recording's own name says about its condition."""
    return _read_numberless(NUMBERS.sub("0", name.rpartition(".")[0]))


@lru_cache(maxsize=10_000)
def _read_numberless(name: str) -> Meaning:
    """Thousands of recordings differ in their numbers only."""
    return read_name(name)


def plain(text: str) -> str:
    """Full-width letters as usual ones, and letters without accents."""
    return "".join(sign for sign in unicodedata.normalize("NFKD", text) if not unicodedata.combining(sign))


ALL_WORDS = [
    *(trade.NORMAL, trade.ANOMALY, trade.UNKNOWN, trade.FAULT_HINTS, trade.NEGATIONS, trade.FREE_OF, trade.HEDGES),
    *(trade.TRAIN, trade.TEST, trade.FILLERS),
]
_asian = {word for word in plain(" ".join(ALL_WORDS)).split() if ASIAN.search(word)}
ASIAN_WORDS = re.compile(f"({'|'.join(sorted(_asian, key=len, reverse=True))}|\\d+)")


def words_of(name: str) -> list[str]:
    """
    The words and numbers of a name in small letters.

    >>> words_of("01_BadBearing-n.i.O.")
    ['01', 'bad', 'bearing', 'n', 'i', 'o']
    """
    words = []
    for chunk in CHUNK.findall(CAMEL_CASE.sub(" ", plain(name))):
        chunk = chunk.casefold()
        if ASIAN.search(chunk):
            words += filter(None, ASIAN_WORDS.split(chunk))
        elif numbered := NUMBERED.fullmatch(chunk):
            words += filter(None, numbered.groups())
        else:
            words.append(chunk)
    return words


def _phrases(text: str) -> set[tuple[str, ...]]:
    return {tuple(words_of(phrase)) for phrase in text.split()}


def _words(text: str) -> set[str]:
    return {word for phrase in _phrases(text) for word in phrase if not word.isdecimal()}


CONDITION_WORDS = {
    phrase: condition
    for condition, text in (("unknown", trade.UNKNOWN), ("normal", trade.NORMAL), ("anomaly", trade.ANOMALY))
    for phrase in _phrases(text)
}
SPLIT_WORDS = {
    phrase: split for split, text in (("train", trade.TRAIN), ("test", trade.TEST)) for phrase in _phrases(text)
}
LONGEST_PHRASE = max(map(len, (*CONDITION_WORDS, *SPLIT_WORDS)))
FAULT_HINTS, NEGATIONS, FREE_OF = _words(trade.FAULT_HINTS), _words(trade.NEGATIONS), _words(trade.FREE_OF)
HEDGES, FILLERS = _words(trade.HEDGES), _words(trade.FILLERS)
SESSION_WORDS, DAY_NAMES = _words(trade.SESSION_WORDS), _words(trade.DAY_NAMES)
OPPOSITE = {"normal": "anomaly", "anomaly": "normal", "unknown": "unknown"}


def _cut_session(text: str) -> tuple[str | None, str]:
    """The date in a name or the session that it is, and the rest of the name."""
    if WHOLE_SESSIONS.fullmatch(text):
        return text, ""
    for pattern in DATES:
        found = pattern.search(text)
        if found and _is_date(found):
            return found[0].strip(" _.-"), f"{text[: found.start()]} {text[found.end() :]}"
    return None, text


def _is_date(found: re.Match) -> bool:
    month, day = _month_and_day(found)
    return 1 <= month <= 12 and 1 <= day <= 31


def _month_and_day(found: re.Match) -> tuple[int, int]:
    """Of a match of one of the dates; 1 where there is none."""
    parts = {key: int(value) for key, value in found.groupdict().items() if key in ("m", "d") and value}
    month, day = parts.get("m", 1), parts.get("d", 1)
    if parts.keys() == {"m", "d"} and found.start("d") < found.start("m") and month > 12:
        month, day = day, month  # 11/25/2026
    return month, day


def date_in(name: str) -> date | None:
    """
    The day in the name of a recording.

    >>> date_in("pump_20261120-101500_ch1")
    datetime.date(2026, 11, 20)
    """
    found = _whole_date(name)
    return None if found is None else found[0]


def cut_date(text: str) -> str:
    """
    A text without the day in it.

    >>> cut_date("bearing, replaced 2026-11-20")
    'bearing, replaced'
    """
    found = _whole_date(text)
    if found is None:
        return text
    return f"{plain(text)[: found[1].start()]} {plain(text)[found[1].end() :]}".strip(" ,;:-")


def _whole_date(name: str) -> tuple[date, re.Match] | None:
    """The first year, month and day in a name, and where they stand."""
    for pattern in DATES:
        found = pattern.search(plain(name))
        if found and {"y", "m", "d"} <= pattern.groupindex.keys() and _is_date(found):
            month, day = _month_and_day(found)
            year = int(found["y"])
            try:
                return date(year if year > 99 else 2000 + year, month, day), found
            except ValueError:  # 30 February
                return None
    return None


def _match(words: list[str], place: int, phrases: dict[tuple[str, ...], str]) -> tuple[str | None, int]:
    """What the longest phrase that starts at a place means, and its number of words."""
    for size in range(LONGEST_PHRASE, 0, -1):
        meaning = phrases.get(tuple(words[place : place + size]))
        if meaning is not None:
            return meaning, size
    return None, 1


def _read_conditions(words: list[str]) -> tuple[set[str], list[str], bool]:
    """The conditions that words stand for, the other words, and whether one of them may mean a fault."""
    found, others, place, has_hint = set(), [], 0, False
    while place < len(words):
        condition, size = _match(words, place, CONDITION_WORDS)
        if condition is None:
            word = words[place]
            has_hint = has_hint or word in FAULT_HINTS or word.endswith(trade.FAULT_ENDINGS)
            others.append(word)
        elif others and others[-1] in NEGATIONS and not words[place - 1].isdecimal():
            others.pop()
            found.add(OPPOSITE[condition])
        elif condition == "anomaly" and words[place + size : place + size + 1] and words[place + size] in FREE_OF:
            size += 1
            found.add("normal")
        else:
            found.add(condition)
        place += size
    return found, others, has_hint


def _read_split(words: list[str], condition: str | None) -> tuple[str | None, list[str]]:
    """The split that words stand for, and the other words; a `test bench` is a machine."""
    splits, others, place = set(), [], 0
    while place < len(words):
        split, size = _match(words, place, SPLIT_WORDS)
        if split is None:
            others.append(words[place])
        else:
            splits.add(split)
        place += size
    has_more = condition is None and any(word not in FILLERS and not word.isdecimal() for word in others)
    return (None, words) if len(splits) != 1 or has_more else (splits.pop(), others)


def _session_of_words(words: list[str]) -> str | None:
    said = [word for word in words if word not in FILLERS]
    counted = [word for word in said if word.isdecimal() or len(word) == 1]
    named = [word for word in said if word in DAY_NAMES]
    sessions = [word for word in said if word in SESSION_WORDS]
    is_session = named or (sessions and counted)
    return " ".join(said) if is_session and not set(said) - {*counted, *named, *sessions} else None
