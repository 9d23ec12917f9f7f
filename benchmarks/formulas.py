"""
How far poolings, losses and scores are from the formulas of their papers, in seconds.

    python benchmarks/formulas.py

Each is computed on random numbers by this package and by plain numpy in double precision (tests/reference_formulas.py,
where the equations are named). Printed is the largest difference, absolute and as a share of the largest value.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hf_asd import AttributeClassifierConfig, BeatsConfig, EatConfig
from hf_asd.detection.backends.composite import make_scorer
from hf_asd.detection.backends.gaussian import Mahalanobis
from hf_asd.detection.backends.nearest_neighbors import CosineNeighbors
from hf_asd.detection.backends.pca import PcaResidual
from hf_asd.detection.config import ScoringConfig
from hf_asd.models.attribute_classifier.heads import make_head
from hf_asd.models.pooling import pool


sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import reference_formulas as plain  # noqa: E402


TINY: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
EAT = EatConfig(**TINY)  # 8 bands, and a CLS token
BEATS = BeatsConfig(**TINY, num_conv_pos_embedding_groups=4, patch_embedding_size=8)  # 8 bands
TIMES, BANDS, SIZE, CENTERS = 12, 8, 16, 3
Rows = dict[str, tuple[np.ndarray, np.ndarray]]  # formula -> found, expected


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers")
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    rows = poolings() | losses() | scores() | bands() | backends()
    width = max(map(len, rows))
    print(f"{'formula':<{width}}  largest difference     relative")
    for name, (found, expected) in rows.items():
        difference = np.abs(np.asarray(found) - expected).max()
        print(f"{name:<{width}}  {difference:18.1e}  {difference / np.abs(expected).max():11.1e}")


def poolings() -> Rows:
    """Two clips of random patches, each pooling with its published parameter."""
    grids = 3 * torch.randn(2, TIMES, BANDS, SIZE)
    cls = torch.randn(2, 1, SIZE)
    rows: Rows = {}
    for name, config, published in (
        ("BEATs", BEATS, {"max": 0.0, "gwrp": 0.4, "gem": 10.0, "rdp": 19.0, "rdp_gem": 16.0, "bands_rdp": 4.0}),
        ("EAT", EAT, {"gwrp": 0.9, "gem": 3.0, "rdp": 1.0, "rdp_gem": 1.0}),
    ):
        patches = grids.flatten(1, 2)
        tokens = torch.cat([cls, patches], dim=1) if name == "EAT" else patches
        for pooling, parameter in published.items():
            expected = [plain.pooled(grid.double().numpy(), pooling, parameter) for grid in grids]
            shown = pooling if pooling == "max" else f"{pooling} {parameter:g}"
            rows[f"pooling {shown} ({name})"] = pool(tokens, pooling, config).numpy(), np.stack(expected)
    return rows


def losses() -> Rows:
    """A random batch; the scale of a loss that adapts it, too."""
    rows: Rows = {}
    embeddings, labels = torch.randn(32, SIZE), torch.arange(32) % 5
    for loss in ("softmax", "arcface", "subcenter_arcface", "adacos", "subcluster_adacos", "adaproj"):
        head = make_head(SIZE, 5, AttributeClassifierConfig(loss=loss, scale=30.0, margin=0.2, num_centers=CENTERS))
        head.init_weights(1.0)
        state = {name: value.double().numpy() for name, value in head.state_dict().items()}
        expected = plain.loss_and_scale(loss, state, embeddings.double().numpy(), labels.numpy(), CENTERS)
        similarities = head(embeddings)
        head.adapt(similarities, labels)
        rows[f"loss {loss}"] = head.loss(similarities, labels).mean().detach().numpy(), np.array(expected[0])
        if expected[1] is not None:
            rows[f"scale {loss}"] = head.scale.numpy(), np.array(expected[1])  # pyright: ignore
    head = make_head(SIZE, 2, AttributeClassifierConfig(loss="arcface", scale=1.0, margin=0.5))
    beyond = torch.linspace(np.pi - 0.49, np.pi, 50).cos()
    found = head.logits(torch.stack([beyond, torch.zeros(50)], dim=1), torch.zeros(50, dtype=torch.int64))[:, 0]
    rows["loss arcface beyond pi - m"] = found.numpy(), plain.with_margin(beyond.double().numpy(), 0.5)
    return rows


def scores() -> Rows:
    """Distances to 30 clips with each normalization."""
    bank, queries = torch.randn(30, SIZE), torch.randn(8, SIZE)
    rows: Rows = {}
    for metric, normalization, density_neighbors in (
        ("cosine", "ratio", 4),
        ("cosine", "difference", 4),
        ("cosine", "varmin", 4),
        ("euclidean", "log_varmin", 1),
    ):
        config = ScoringConfig(backends=(metric,), normalization=normalization, density_neighbors=density_neighbors)
        expected = plain.neighbor_scores(
            bank.double().numpy(), queries.double().numpy(), metric, normalization, 1, density_neighbors
        )
        rows[f"score {metric}, {normalization}"] = (
            make_scorer({"source": bank}, config).score(queries).numpy(),
            expected,
        )
    return rows


def bands() -> Rows:
    """BEAM over 8 bands: raw, z-scored, with VarMin in each; and on deviations pooled per band."""
    rows: Rows = {}
    grids = torch.randn(38, TIMES, BANDS, SIZE)
    pooled = pool(grids.flatten(1, 2), "bands_rdp", BEATS)
    bank, queries = pooled[:30], pooled[30:]
    wide = np.stack([plain.pooled(grid.double().numpy(), "bands_rdp", 4.0) for grid in grids])
    parts = [wide[:, start : start + SIZE] for start in range(0, BANDS * SIZE, SIZE)]

    def band_scores(normalization: str) -> np.ndarray:
        return np.stack([plain.neighbor_scores(part[:30], part[30:], "cosine", normalization) for part in parts])

    raw, varmin = band_scores("none"), band_scores("varmin")
    left_out = [
        plain.leave_one_out(part[:30], lambda bank, query: plain.neighbor_scores(bank, query, "cosine"))
        for part in parts
    ]
    z = np.stack([plain.z_scores(own, normal) for own, normal in zip(raw, left_out, strict=True)])
    for name, fusion, normalization, expected in (
        ("raw, mean", "mean", "none", raw.mean(0)),
        ("raw, half mean and half largest", "mean_max", "none", (raw.mean(0) + raw.max(0)) / 2),
        ("z-scored, mean", "z_mean", "none", z.mean(0)),
        ("VarMin in each band, mean", "mean", "varmin", varmin.mean(0)),
    ):
        config = ScoringConfig(backends=("cosine",), normalization=normalization, num_bands=BANDS, band_fusion=fusion)
        found = make_scorer({"source": bank}, config).score(queries)
        rows[f"rdp per band, BEAM: {name}"] = found.numpy(), expected
    return rows


def backends() -> Rows:
    """PCA residual, and the minimum of four backends with a normalization each."""
    bank, queries = torch.randn(60, SIZE) * torch.linspace(3, 0.1, SIZE), torch.randn(8, SIZE)
    expected = plain.pca_residual(bank.double().numpy(), queries.double().numpy(), 0.95)
    config = ScoringConfig(
        backends=("cosine", "mahalanobis", "cosine", "pca_residual"),
        normalization=("none", "none", "ratio", "none"),
        fusion="min",
    )
    parts = [CosineNeighbors(bank), Mahalanobis(bank), CosineNeighbors(bank, normalization="ratio"), PcaResidual(bank)]
    z = [plain.z_scores(part.score(queries).numpy(), part.leave_one_out().numpy()) for part in parts]
    return {
        "score pca_residual": (PcaResidual(bank).score(queries).numpy(), expected),
        "minimum of four backends": (make_scorer({"source": bank}, config).score(queries).numpy(), np.min(z, axis=0)),
    }


if __name__ == "__main__":
    main()
