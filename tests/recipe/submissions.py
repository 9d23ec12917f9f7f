"""Shared by tests of submission packages: what only an author knows, a report, years with the machines of a test."""

from dataclasses import replace

import yaml

from hf_asd.data.dcase.years import YEARS, ZenodoRecord


ENTRIES = {
    "label": "Kim_UoX",
    "authors": [
        {
            "lastname": "Kim",
            "firstname": "Ada",
            "email": "kim@uox.example",
            "corresponding": True,
            "affiliation": {"institution": "University of X", "department": "Acoustics", "location": "X, Y"},
        },
        {
            "lastname": "Öz",
            "firstname": "Bo",
            "email": "oz@uox.example",
            "affiliation": {"institution": "University of X", "location": "X, Y"},
        },
    ],
    "systems": [{"name": "Nearest neighbors", "abbreviation": "kNN"}],
    "external_datasets": [{"name": "AudioSet", "url": "https://research.google.com/audioset/"}],
}


def write_entries(folder, **changes):
    file = folder / "entries.yaml"
    file.write_text(yaml.safe_dump(ENTRIES | changes, allow_unicode=True), encoding="utf-8")
    return file


def write_report(folder):
    (folder / "report.pdf").write_bytes(b"%PDF-1.4\n")
    return folder / "report.pdf"


def set_machines(monkeypatch, year, dev, evaluation):
    """Gives a year other machines, so that a test needs only a few."""
    records = [ZenodoRecord("dev", 1, "dev_{}.zip", dev), ZenodoRecord("eval", 2, "eval_{}.zip", evaluation)]
    monkeypatch.setitem(YEARS, year, replace(YEARS[year], records=tuple(records)))
