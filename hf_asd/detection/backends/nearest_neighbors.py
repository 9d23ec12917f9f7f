"""Nearest neighbors among normal embeddings, normalized by the local density of the memory bank: exact, in chunks."""

from typing import ClassVar, Literal, Self

import torch

from ..config import ScoringConfig


CHUNK_ENTRIES = 2**24  # distances held at a time: 64 MiB
CHUNK_REFERENCES = 2**14
EPSILON = 1e-12  # below it a distance is the rounding of float32 embeddings


class NearestNeighbors:
    """
    Distance to the nearest normal clips ([`CosineNeighbors`], [`EuclideanNeighbors`]), normalized by how far these lie
    from their own neighbors.

    A reference in a dense region has a small distance to its neighbors, so the same distance to it counts for more.
    One object holds one domain's bank: source and target differ in size and density.

    The search runs in single precision over embeddings moved to the middle of the bank (clips of one machine lie so
    close together that one minus a cosine would be rounding), the distances of the neighbors it finds are computed
    again in double precision. Memory is bounded by the chunks, whatever the size of the bank.

    Args:
        bank (`torch.Tensor` of shape `(references, dimensions)`): embeddings of normal clips, float32 or float16.
        num_neighbors (`int`, *optional*, defaults to 1): distances averaged into a score; cut to what the bank has.
        normalization (`str`, *optional*, defaults to `"none"`): what becomes of a distance `d` to a reference whose
            mean distance to its own `density_neighbors` nearest references is `r`:
            - `"none"`: `d`;
            - `"ratio"`: `d / r`;
            - `"difference"`: `d - r`;
            - `"varmin"`: `d - a r` with the `a` that gives leave-one-out scores the smallest variance,
              `cov(d, r) / var(r)` over the normal clips and the reference nearest to each;
            - `"log_varmin"`: the same for the logarithms, `log d - a log r`.
        density_neighbors (`int`, *optional*, defaults to 4): cut to what the bank has. One reference has no
            neighbors; its distances stay as they are.

    References:
        K. Wilkinghoff et al. 2025, "Local Density-Based Anomaly Score Normalization for Domain Generalization" (arXiv
        2509.10951): ratio and difference. M. Matsumoto et al. 2025, "Adjusting Bias in Anomaly Scores via Variance
        Minimization for Domain-Generalized Discriminative Anomalous Sound Detection" (DCASE workshop), equation 5:
        varmin. In logarithms, with one density neighbor: K. Wilkinghoff et al. 2026 (arXiv 2603.04605), section IV-C.
    """

    description: ClassVar[str]
    minimum_clips: ClassVar[int] = 2
    metric: Literal["cosine", "euclidean"]

    @classmethod
    def build(cls, bank: torch.Tensor, config: ScoringConfig) -> Self:
        (normalization,) = config.normalizations
        return cls(
            bank, config.num_neighbors, "none" if normalization == "z" else normalization, config.density_neighbors
        )

    def __init__(
        self,
        bank: torch.Tensor,
        num_neighbors: int = 1,
        normalization: str = "none",
        density_neighbors: int = 4,
    ):
        self.bank, self.normalization = bank, normalization
        self.num_neighbors = min(num_neighbors, len(bank))
        self.center = self._directions(bank[:CHUNK_REFERENCES]).mean(0)
        self.slope = 1.0
        self.in_logarithms = False  # not before the density is measured
        self.density: torch.Tensor | None = None
        density_neighbors = min(density_neighbors, len(bank) - 1)
        if normalization != "none" and density_neighbors > 0:
            self._measure_density(density_neighbors)
        self.in_logarithms = normalization == "log_varmin"

    def score(self, queries: torch.Tensor) -> torch.Tensor:
        """
        Anomaly scores of clips that are not in the bank.

        Args:
            queries (`torch.Tensor` of shape `(clips, dimensions)`): float32.

        Returns:
            `torch.Tensor` of shape `(clips,)`, float64, higher is more anomalous.
        """
        return self._search(queries, self.num_neighbors)[0].mean(1)

    def nearest(self, queries: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Normalized distances (float64, ascending) and bank rows (int64) of the nearest references, each of shape
        `(clips, min(count, references))`.
        """
        return self._search(queries, min(count, len(self.bank)))

    def leave_one_out(self) -> torch.Tensor:
        """
        The score that each clip of the bank would get, had the bank been built without it; `a` of `"varmin"` and
        `"log_varmin"`, one number from all clips, is kept.

        Returns:
            `torch.Tensor` of shape `(references,)`, float64.

        Raises:
            ValueError: the bank has a single clip.
        """
        if len(self.bank) < 2:
            raise ValueError("A bank of one clip has no leave-one-out scores; at least 2 normal clips are needed.")
        own = torch.arange(len(self.bank), device=self.bank.device)
        return self._search(self.bank, min(self.num_neighbors, len(self.bank) - 1), own)[0].mean(1)

    def _measure_density(self, neighbors: int):
        own = torch.arange(len(self.bank), device=self.bank.device)
        # One more than counted, for the references whose neighbor is left out.
        distances, self.neighbors = self._search(self.bank, min(neighbors + 1, len(self.bank) - 1), own)
        self.neighbors = self.neighbors[:, :neighbors]
        self.distances = distances[:, :neighbors]
        self.next = distances[:, neighbors] if distances.shape[1] > neighbors else None
        self.density = self.distances.mean(1).clamp_min(EPSILON)
        if self.normalization in ("varmin", "log_varmin"):
            scores, density = self.distances[:, 0], self.density[self.neighbors[:, 0]]
            if self.normalization == "log_varmin":
                scores, density = scores.clamp_min(EPSILON).log(), density.log()
            variance = density.var(correction=0)
            covariance = ((scores - scores.mean()) * (density - density.mean())).mean()
            # Distances within one machine may be as small as 1e-6, and their variance far smaller.
            self.slope = float(covariance / variance) if variance > EPSILON * scores.square().mean() else 0.0

    def _normalized(self, distances: torch.Tensor, density: torch.Tensor | None) -> torch.Tensor:
        if self.in_logarithms:
            distances = distances.clamp_min(EPSILON).log()
        if density is None:
            return distances
        if self.normalization == "ratio":
            return distances / density
        return distances - self.slope * (density.log() if self.in_logarithms else density)

    def _density_without(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Left-out clips, references that have them as neighbors, and the density of these without them."""
        count = self.neighbors.shape[1]
        references = torch.arange(len(self.bank), device=self.bank.device).repeat_interleave(count)
        total = self.distances.sum(1, keepdim=True) - self.distances
        if self.next is not None:
            density = (total + self.next[:, None]) / count
        elif count > 1:  # every other clip is a neighbor: one fewer remains
            density = total / (count - 1)
        else:  # a single reference cannot be normalized
            density = torch.full_like(total, 0.0 if self.normalization in ("difference", "varmin") else 1.0)
        return self.neighbors.flatten(), references, density.clamp_min(EPSILON).flatten()

    def _search(self, queries: torch.Tensor, count: int, own: torch.Tensor | None = None):
        queries = queries.to(self.bank.device)
        size = min(len(self.bank), CHUNK_REFERENCES)
        parts = max(1, CHUNK_ENTRIES // (size if self.density is None or own is None else len(self.bank)))
        without = None if self.density is None or own is None else self._density_without()
        found = [
            self._search_part(part, count, None if own is None else own[start : start + len(part)], without)
            for start, part in zip(range(0, len(queries), parts), queries.split(parts), strict=True)
        ]
        return torch.cat([values for values, _ in found]), torch.cat([rows for _, rows in found])

    def _search_part(self, queries: torch.Tensor, count: int, own: torch.Tensor | None, without: tuple | None):
        density = self.density
        if without is not None and density is not None and own is not None:
            clips, references, changed = without
            density = density.expand(len(queries), -1).clone()
            inside = (clips >= own[0]) & (clips <= own[-1])
            density[clips[inside] - own[0], references[inside]] = changed[inside]
        centered = self._directions(queries) - self.center
        squares = centered.square().sum(1, keepdim=True)
        best: tuple[torch.Tensor, torch.Tensor] = (torch.empty(0), torch.empty(0, dtype=torch.int64))
        for start in range(0, len(self.bank), CHUNK_REFERENCES):
            references = self._directions(self.bank[start : start + CHUNK_REFERENCES]) - self.center
            distances = torch.addmm(squares + references.square().sum(1), centered, references.T, alpha=-2).clamp_min_(
                0
            )
            distances = distances.div_(2) if self.metric == "cosine" else distances.sqrt_()
            own_density = None if density is None else density[..., start : start + len(references)].float()
            distances = self._normalized(distances, own_density)
            if own is not None:  # a clip is not its own neighbor
                inside = (own >= start) & (own < start + len(references))
                distances[inside, own[inside] - start] = torch.inf
            values, rows = distances.topk(min(count, len(references)), dim=1, largest=False)
            rows += start
            if start:
                values, rows = torch.cat([best[0], values], 1), torch.cat([best[1], rows], 1)
                values, order = values.topk(min(count, values.shape[1]), dim=1, largest=False)
                rows = rows.gather(1, order)
            best = values, rows
        rows = best[1]
        exact = (self._directions(queries.double())[:, None] - self._directions(self.bank[rows].double())).square()
        values = exact.sum(2) / 2 if self.metric == "cosine" else exact.sum(2).sqrt()
        if density is not None:
            density = density[rows] if density.ndim == 1 else density.gather(1, rows)
        values = self._normalized(values, density)
        values, order = values.sort(1)
        return values, rows.gather(1, order)

    def _directions(self, rows: torch.Tensor) -> torch.Tensor:
        rows = rows if rows.dtype == torch.float64 else rows.float()
        return torch.nn.functional.normalize(rows, dim=-1) if self.metric == "cosine" else rows


class CosineNeighbors(NearestNeighbors):
    """[`NearestNeighbors`] by cosine distance."""

    description = "cosine distance to the nearest normal recordings"
    metric = "cosine"


class EuclideanNeighbors(NearestNeighbors):
    """[`NearestNeighbors`] by Euclidean distance."""

    description = "Euclidean distance to the nearest normal recordings"
    metric = "euclidean"
