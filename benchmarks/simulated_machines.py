"""Embeddings of simulated machines and of what is compared with them, for benchmarks/power.py."""

from pathlib import Path

import numpy as np
import torch
from knocks import add_knock
from scipy.fft import dct

from hf_asd import SpectralStatistics, TransformerEncoder
from hf_asd.embedding.band_statistics import band_statistics
from hf_asd.models.bundled_encoder import BUNDLED_ENCODER
from hf_asd.simulation.recording import draw_clip, record_clip


CLIP_SECONDS, SNR_DB = 10.0, (0.0, 9.0)
TARGET_CLIPS, TESTED_CLIPS, KNOCKED_CLIPS = 10, 50, 15
NUM_COEFFICIENTS = 40  # of a cepstrum
ENCODED = ("fan", "valve")  # machines that the bundled encoder did not train on
# Of each factory three machines, one of them with as many normal clips as the challenge's data sets have.
MACHINES = (("valve", "pump", "slider"), ("fan", "gearbox", "bearing"))


def machines_of(seed: int) -> tuple[str, ...]:
    """The machines of a factory, first the one with many normal clips."""
    names = MACHINES[seed % 2]
    first = (seed - 1) // 2 % 3
    return (names[first], *names[:first], *names[first + 1 :])


def embed_machine(folder: Path, seed: int, machine: str, source_clips: int) -> dict[str, np.ndarray]:
    """
    Embeddings of a machine's clips, kept in a file.

    Args:
        folder (`Path`): where the file is or will be.
        seed (`int`): of the factory.
        machine (`str`): its name.
        source_clips (`int`): normal clips of the source domain to learn from; of the target domain ten.

    Returns:
        `dict[str, np.ndarray]`: `split` (train, test or knock), `domain`, `condition`, and by name of a system
        embeddings of shape `(clips, dimensions)`, float32.
    """
    path = folder / f"{seed}-{machine}.npz"
    if not path.exists():
        plan = [("train", "source", "normal", number) for number in range(source_clips)]
        plan += [("train", "target", "normal", number) for number in range(TARGET_CLIPS)]
        for domain in ("source", "target"):
            for condition in ("normal", "anomaly"):
                plan += [("test", domain, condition, number) for number in range(TESTED_CLIPS)]
        encoder = TransformerEncoder.from_pretrained(BUNDLED_ENCODER, "bands_std") if machine in ENCODED else None
        rows = []
        for split, domain, condition, number in plan:
            clip = record_clip(draw_clip(seed, machine, split, domain, condition, number), seed, CLIP_SECONDS, SNR_DB)
            rows.append(embed(clip, encoder) | {"split": split, "domain": domain, "condition": condition})
            if split == "test" and domain == "source" and condition == "normal" and number < KNOCKED_CLIPS:
                knocked = add_knock(np.random.default_rng([seed, number]), clip, 30.0)
                rows.append(embed(knocked, encoder) | {"split": "knock", "domain": domain, "condition": "anomaly"})
        unfinished = path.with_suffix(".unfinished.npz")
        np.savez(unfinished, **{key: np.stack([row[key] for row in rows]) for key in rows[0]})
        unfinished.rename(path)
    with np.load(path) as content:
        return dict(content)


def embed(clip: np.ndarray, encoder: TransformerEncoder | None) -> dict[str, np.ndarray]:
    samples = np.round(clip * 2**15).astype(np.float32) / 2**15
    log_mel = LOG_MEL(torch.from_numpy(samples)[None])[0]
    cepstrum = dct(log_mel.numpy(), axis=1, norm="ortho")[:, :NUM_COEFFICIENTS]
    found = {
        "band_statistics": band_statistics(log_mel).numpy(),
        "quantiles": log_mel.quantile(torch.tensor((0.1, 0.5, 0.9)), dim=0).flatten().numpy(),
        "mean": log_mel.mean(0).numpy(),
        "mfcc": np.concatenate([cepstrum.mean(0), cepstrum.std(0)]),
    }
    return found | ({} if encoder is None else {"encoder": encoder([samples])[0]})


LOG_MEL = SpectralStatistics().feature_extractor.log_mel
