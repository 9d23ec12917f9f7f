"""What an Inference Endpoint needs beside a detector: `handler.py`, its requirements, and the package's code."""

from pathlib import Path

from .package_source import package_files, package_requirements


HANDLER = '''"""Answers requests to an Inference Endpoint with decisions of this detector; written by `hf-asd push`."""

import sys
from pathlib import Path


sys.path.insert(0, str(Path(__file__).parent))  # the folder `hf_asd` beside this file

from hf_asd.detection.endpoint import EndpointHandler  # noqa: E402


__all__ = ["EndpointHandler"]
'''


def endpoint_files() -> dict[str, Path | bytes]:
    """The files by their path in the repository of a detector."""
    requirements = "\n".join(package_requirements()) + "\n"
    return {"handler.py": HANDLER.encode(), "requirements.txt": requirements.encode(), **package_files()}
