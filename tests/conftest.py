"""
Every test takes a small local server for the Hub: nothing here ever asks the real one. Its address is read when
HuggingFace libraries are first imported, so it is set before any of them.
"""

import os
import tempfile

import pytest
from hub_server import HubServer


SERVER = HubServer()
HOME = tempfile.TemporaryDirectory(prefix="hf_home_")
os.environ.update(SERVER.environment(HOME.name))
for _name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"):
    os.environ.pop(_name, None)


@pytest.fixture
def short_reports(monkeypatch):
    """Reports show two clips of a machine, where a test is about something else: their pictures take seconds."""
    from hf_asd.reporting import machine_section

    make_cards = machine_section.make_cards
    monkeypatch.setattr(
        machine_section,
        "make_cards",
        lambda machine, reader, num_cards: make_cards(machine, reader, min(num_cards, 2)),
    )


@pytest.fixture
def hub():
    """The local server, empty."""
    SERVER.reset()
    return SERVER
