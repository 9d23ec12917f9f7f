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
def hub():
    """The local server, empty."""
    SERVER.reset()
    return SERVER
