"""Publishes the metrics as Spaces, so that `evaluate.load("ORG/pauc")` works where this package is not installed."""

from functools import partial
from pathlib import Path

from ..metrics.loading import METRICS
from .transfer import RepoKind, push_files


PACKAGE = Path(__file__).parents[1]
# The modules of this package that a metric needs; they are published beside it.
NEEDED_MODULES = {
    "pauc": ("metrics/functional.py",),
    "dcase_score": (
        "metrics/functional.py",
        "metrics/official_score.py",
        "metrics/bootstrap.py",
        "data/dcase/years.py",
    ),
}
# In a Space all modules lie in one folder, the only place from which evaluate downloads imported modules.
IMPORTS = ("from hf_asd.metrics.", "from hf_asd.data.dcase.", "from ..data.dcase.")
# The widget of evaluate, and the newest Gradio that it works with.
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
    Publishes metrics as Spaces, each in one commit; files of an older version are replaced.

    Args:
        names (`list[str]`, *optional*): any of `"pauc"` and `"dcase_score"`; defaults to both.
        namespace (`str`, *optional*): user or organization; defaults to your user name.
        private (`bool`, *optional*, defaults to `False`): whether a Space that is created now is visible only to you.
        token (`str`, *optional*): access token of the Hub; defaults to the token of your login.

    Returns:
        `list[str]`: the ids of the Spaces, for `evaluate.load`.

    Raises:
        ValueError: an unknown metric.
        HubError: the Hub refuses the request or cannot be reached.
    """
    for name in names or METRICS:
        if name not in METRICS:
            raise ValueError(f"name is {name!r}; accepted are {', '.join(METRICS)}.")
    return [
        push_files(
            name if namespace is None else f"{namespace}/{name}",
            partial(space_files, name),
            RepoKind(f"{name}.py", "space", "gradio"),
            commit_message=f"{name} of hf-asd",
            private=private,
            token=token,
        )
        for name in names or METRICS
    ]


def space_files(name: str, repo_id: str) -> dict[str, Path | bytes]:
    """The files of a metric's Space: path -> content."""
    folder = PACKAGE / "metrics" / name
    modules = [folder / f"{name}.py", *(PACKAGE / module for module in NEEDED_MODULES[name])]
    card = (folder / "README.md").read_text(encoding="utf-8").replace(f"hf_asd/metrics/{name}", repo_id)
    files = {module.name: _in_one_folder(module).replace(f"hf_asd/metrics/{name}", repo_id) for module in modules}
    files |= {
        "README.md": card.replace("sdk: gradio\n", f"sdk: gradio\nsdk_version: {SDK_VERSION}\napp_file: app.py\n"),
        "app.py": APP.format(repo_id=repo_id),
        "requirements.txt": REQUIREMENTS,
    }
    return {path: text.encode() for path, text in files.items()}


def _in_one_folder(module: Path) -> str:
    """The code of a module with imports from its own folder."""
    code = module.read_text(encoding="utf-8")
    for words in IMPORTS:
        code = code.replace(words, "from .")
    return code
