"""Publishes a detector as a Space: the page of `hf-asd app`, with the detector and the code that it needs."""

import re
import sys
from importlib.metadata import version
from pathlib import Path

import yaml

from .manifest import MANIFEST, detector_files, machines_of
from .package_source import package_files, package_requirements
from .transfer import RepoKind, push_files


DETECTOR_PLACE = "detector"
SPACE = RepoKind(f"{DETECTOR_PLACE}/{MANIFEST}", "space", "gradio")
GRADIO = "6.31.0"
APP = '''"""A page to try the detector in the folder `detector`; written by `hf-asd push --space`."""

from pathlib import Path

from hf_asd.app.serving import serve_space


serve_space(Path(__file__).parent / "{place}")
'''
# Without it, torch would bring several gigabytes of CUDA libraries.
CPU_WHEELS = "--extra-index-url https://download.pytorch.org/whl/cpu"
PACKAGES = "ffmpeg\n"  # of Debian: decodes M4A and others
README = """
# Does {machines} sound as usual?

Drop or record a clip: the page says whether it sounds like the normal recordings of this machine, and shows what is
unusual. The detector is [{model}](https://huggingface.co/{model}); a copy of it lies in `{place}`. `hf_asd` holds the
code.

What you drop is sent to this Space and deleted when you close the page. To keep recordings to yourself, install the
code on your own computer and run `hf-asd app {model}`.

An anomaly can be a fault, but also another load, room or microphone. Never let this page alone decide where people can
be harmed.
"""


def push_space(
    folder: str | Path,
    repo_id: str,
    *,
    license: str | None = None,
    private: bool | None = True,
    token: str | None = None,
) -> str:
    """
    Publishes a detector as a Space that runs on a CPU, in one commit.

    Args:
        folder (`str` or `Path`): the detector's folder.
        repo_id (`str`): `"ORG/NAME"` of the detector; the Space gets the same name. Created if it does not exist; an
            older version is replaced.
        license (`str`, *optional*): license of the training recordings.
        private (`bool`, *optional*, defaults to `True`): whether a Space that is created now is visible only to you.
        token (`str`, *optional*): access token of the Hub; defaults to the token of your login.

    Returns:
        `str`: the Space's full id.

    Raises:
        HubError: the Hub refuses or cannot be reached, or the repository holds something else.
    """
    return push_files(
        repo_id,
        lambda full_id: space_files(folder, full_id, license),
        SPACE,
        commit_message="Upload the page of a detector",
        private=private,
        token=token,
    )


def space_files(folder: str | Path, repo_id: str, license: str | None = None) -> dict[str, Path | bytes]:
    """
    The files of a Space: path -> content.

    Args:
        folder (`str` or `Path`): the detector's folder.
        repo_id (`str`): full id of the detector on the Hub.
        license (`str`, *optional*): license of the training recordings.
    """
    detector = {f"{DETECTOR_PLACE}/{name}": path for name, path in detector_files(folder).items()}
    return {
        **detector,
        **package_files(),
        "app.py": APP.format(place=DETECTOR_PLACE).encode(),
        "requirements.txt": requirements().encode(),
        "packages.txt": PACKAGES.encode(),
        "README.md": _card(folder, repo_id, license).encode(),
    }


def requirements() -> str:
    """
    The packages that the Space needs, as `requirements.txt`: those of this package and gradio, in the versions that
    are installed here, with which the detector was loaded before it is published.
    """
    names = [re.split("[^A-Za-z0-9_.-]", line)[0] for line in package_requirements()]
    pins = [f"{name}=={version(name).partition('+')[0]}" for name in names]  # without a kind of build, such as +cpu
    return "\n".join([CPU_WHEELS, f"gradio=={GRADIO}", *pins]) + "\n"


def _card(folder: str | Path, repo_id: str, license: str | None) -> str:
    machines = ", ".join(machines_of(folder))
    header = {
        "title": f"Sound check: {machines}",
        "emoji": "🔊",
        "colorFrom": "blue",
        "colorTo": "gray",
        "sdk": "gradio",
        "sdk_version": GRADIO,
        "python_version": f"{sys.version_info.major}.{sys.version_info.minor}",
        "app_file": "app.py",
        "suggested_hardware": "cpu-basic",
        "models": [repo_id],
        "tags": ["anomaly-detection", "anomalous-sound-detection", "audio"],
        **({} if license is None else {"license": license}),
        "short_description": "Does a machine sound as usual?",
    }
    text = README.format(machines=machines, model=repo_id, place=DETECTOR_PLACE)
    return f"---\n{yaml.safe_dump(header, sort_keys=False, allow_unicode=True)}---\n{text}"
