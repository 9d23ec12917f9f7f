"""Publishes the metrics as Spaces, so that `evaluate.load("ORG/pauc")` works where this package is not installed."""

from functools import partial
from pathlib import Path

from ..metrics import METRICS
from .transfer import push_files


# What a metric's module imports from this package goes along beside it, as it is.
FUNCTIONS = {"pauc": ("functional",), "dcase_score": ("functional", "bootstrap")}
# evaluate's own widget, and the newest Gradio that it works with.
APP = """import evaluate
from evaluate.utils import launch_gradio_widget


launch_gradio_widget(evaluate.load("{repo_id}"))
"""
SDK_VERSION = "3.19.1"
REQUIREMENTS = "evaluate>=0.4.6\nnumpy\n"


def push_metrics(
    names: list[str] | None = None,
    *,
    namespace: str | None = None,
    private: bool = False,
    token: str | None = None,
) -> list[str]:
    """
    Publishes metrics as Spaces, each in one commit, or replaces their files by those of this version.

    Args:
        names (`list[str]`, *optional*): of `"pauc"` and `"dcase_score"`; both by default.
        namespace (`str`, *optional*): user or organization; defaults to you.
        private (`bool`, *optional*, defaults to `False`): whether only you see Spaces that are made now.
        token (`str`, *optional*): of the Hub; defaults to the one you are logged in with.

    Returns:
        `list[str]`: the Spaces' ids, as `evaluate.load` takes them.

    Raises:
        ValueError: there is no such metric.
        HubError: the Hub refuses or cannot be reached.
    """
    for name in names or METRICS:
        if name not in METRICS:
            raise ValueError(f"name is {name!r}; accepted are {', '.join(METRICS)}.")
    return [
        push_files(
            name if namespace is None else f"{namespace}/{name}",
            partial(space_files, name),
            mark=f"{name}.py",
            commit_message=f"{name} of hf-asd",
            private=private,
            token=token,
            repo_type="space",
            space_sdk="gradio",
        )
        for name in names or METRICS
    ]


def space_files(name: str, repo_id: str) -> dict[str, bytes]:
    """The files of a metric's Space: path -> content."""
    folder = Path(__file__).parents[1] / "metrics"
    module = (folder / name / f"{name}.py").read_text(encoding="utf-8")
    card = (folder / name / "README.md").read_text(encoding="utf-8")
    # evaluate fetches what a module imports from beside itself, and nothing else.
    module = module.replace("from hf_asd.metrics.", "from .").replace(f"hf_asd/metrics/{name}", repo_id)
    card = card.replace(f"hf_asd/metrics/{name}", repo_id)
    files = {
        f"{name}.py": module,
        **{f"{part}.py": (folder / f"{part}.py").read_text(encoding="utf-8") for part in FUNCTIONS[name]},
        "README.md": card.replace("sdk: gradio\n", f"sdk: gradio\nsdk_version: {SDK_VERSION}\napp_file: app.py\n"),
        "app.py": APP.format(repo_id=repo_id),
        "requirements.txt": REQUIREMENTS,
    }
    return {path: text.encode() for path, text in files.items()}
