"""Encoders from checkpoints of their authors' code (`.pt`): a file, or a repository on the Hub that holds one."""

import hashlib
import re
from pathlib import Path

import yaml
from huggingface_hub import HfApi, constants, hf_hub_download
from transformers.utils import CONFIG_NAME

from ..files import whole_folder
from ..hub_errors import HubError, check_repo, hub_errors
from .checkpoint import read_checkpoint


# Repositories (patterns of their ids) that hold such a checkpoint; others are named with the file: ORG/NAME/FILE.pt.
KNOWN = (r"Bencr/beats-checkpoints", r"jaeyeonkim99/BEATs-base-AS2M-iter\d", r"(shikhar7ssu|espnet)/OpenBEAT[sS]-.+")
DEFAULT_FILES = {"Bencr/beats-checkpoints": "BEATs_iter3_plus_AS2M.pt"}
# Trained with ESPnet, whose own values normalized the log energies (the README of its recipe egs3/audioset/ssl).
MEAN_STD = {r"jaeyeonkim99/BEATs-.+": (15.2913, 5.90532)}
# OpenBEATs that were fine-tuned come without their shape; it is that of the encoder that they started from.
STARTED_FROM = r"espnet/OpenBEATs?-(base|large)-i(\d).*"


def local_encoder(encoder: str | Path) -> str | Path:
    """
    What Auto classes of transformers load. A checkpoint of EAT's or BEATs' own code is downloaded where needed and
    converted once, into the cache of the Hub.

    Args:
        encoder (`str` or `Path`): a folder, an id on the Hub, a `.pt` file, or `ORG/NAME/FILE.pt`, a file of a model
            or dataset repository on the Hub.

    Returns:
        `str` or `Path`: `encoder` itself, or the folder of the converted encoder.

    Raises:
        ValueError: a repository with no or several checkpoints, or one that cannot be converted.
        FileNotFoundError: there is no such folder, or it holds no encoder.
        HubError: there is no such repository, or the Hub cannot be reached and its cache has no copy.
    """
    path = Path(encoder)
    if path.is_file():
        return _converted(path)
    if path.is_dir():
        if not (path / CONFIG_NAME).is_file():
            raise FileNotFoundError(f"{path}: holds no {CONFIG_NAME}, so it is not the folder of an encoder.")
        return encoder
    repo, name = "/".join(path.parts[:2]), "/".join(path.parts[2:])
    is_known = any(re.fullmatch(pattern, repo) for pattern in KNOWN)
    if path.is_absolute() or len(path.parts) < 2 or str(encoder).startswith(("./", "../", "~")):
        raise FileNotFoundError(
            f"{encoder}: there is no such folder or file, and it is not an id on the Hub (ORG/NAME, "
            "or ORG/NAME/FILE.pt)."
        )
    if not (name.endswith((".pt", ".pth")) or (is_known and not name)):
        return check_repo(str(encoder), CONFIG_NAME) or encoder
    with hub_errors(repo):
        repo_type, files = _files(repo)
        name = name or _only_checkpoint(repo, files)
        checkpoint = Path(hf_hub_download(repo, name, repo_type=repo_type))
        settings = _espnet_settings(repo, files, repo_type)
    mean_std = next((values for pattern, values in MEAN_STD.items() if re.fullmatch(pattern, repo)), None)
    return _converted(checkpoint, settings, mean_std)


def _files(repo: str) -> tuple[str, list[str]]:
    """The kind of a repository on the Hub and its files."""
    api = HfApi()
    for repo_type in ("model", "dataset"):
        if api.repo_exists(repo, repo_type=repo_type):
            return repo_type, api.list_repo_files(repo, repo_type=repo_type)
    raise HubError(f"{repo}: there is no such model or dataset repository on the Hub.")


def _only_checkpoint(repo: str, files: list[str]) -> str:
    if repo in DEFAULT_FILES:
        return DEFAULT_FILES[repo]
    found = [file for file in files if file.endswith((".pt", ".pth"))]
    if len(found) != 1:
        raise ValueError(
            f"{repo}: holds {', '.join(found) or 'no .pt file'}; name one as {repo}/FILE.pt."
            if found
            else f"{repo}: holds no checkpoint (.pt)."
        )
    return found[0]


def _espnet_settings(repo: str, files: list[str], repo_type: str) -> dict | None:
    """The shape of a BEATs from ESPnet's `config.yaml`, of this repository or of the encoder that it started from."""
    started_from = re.fullmatch(STARTED_FROM, repo, re.IGNORECASE)
    sources = [(repo, repo_type, files)]
    if started_from:
        base = f"shikhar7ssu/OpenBEATs-{started_from[1].capitalize()}-i{started_from[2]}"
        sources.append((base, *_files(base)))
    for source, kind, names in sources:
        for name in names:
            if Path(name).name == "config.yaml":
                content = yaml.safe_load(Path(hf_hub_download(source, name, repo_type=kind)).read_text())
                settings = (content.get("encoder_conf") or {}).get("beats_config")
                if settings:
                    return settings
    return None


def _converted(checkpoint: Path, settings: dict | None = None, mean_std: tuple[float, float] | None = None) -> Path:
    """Converts a checkpoint unless that was done before."""
    from .beats.convert_beats import convert_beats
    from .eat.convert_eat import convert_eat

    digest = hashlib.sha256(repr((settings, mean_std)).encode())
    with open(checkpoint, "rb") as file:
        for block in iter(lambda: file.read(2**20), b""):
            digest.update(block)
    folder = Path(constants.HF_HOME) / "hf_asd" / f"{checkpoint.stem}-{digest.hexdigest()[:12]}"
    if folder.is_dir():
        return folder
    names = read_checkpoint(checkpoint, "{'cfg': c.get('cfg'), 'model': c['model']}")["model"]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with whole_folder(folder) as partial:
        if any(name.endswith("patch_embedding.weight") for name in names):
            convert_beats(checkpoint, partial, settings, mean_std)
        else:
            convert_eat(checkpoint, partial)
    return folder
