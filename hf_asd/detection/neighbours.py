"""Nearest neighbours among normal embeddings, normalised by the local density of the memory bank: exact, in chunks."""

import torch


METRICS = ("cosine", "euclidean")
NORMALISATIONS = ("none", "ratio", "difference", "varmin")
CHUNK_ENTRIES = 2**24  # distances held at a time: 64 MiB
CHUNK_REFERENCES = 2**14
EPSILON = 1e-12  # below it a distance is the rounding of float32 embeddings


class NearestNeighbours:
    """
    Distance to the nearest normal clips, normalised by how far these lie from their own neighbours.

    A reference in a dense region has a small distance to its neighbours, so the same distance to it counts for more.
    One object holds one domain's bank: source and target differ in size and density.

    The search runs in single precision over embeddings moved to the middle of the bank (clips of one machine lie so
    close together that one minus a cosine would be rounding), the distances of the neighbours it finds are computed
    again in double precision. Memory is bounded by the chunks, whatever the size of the bank.

    Args:
        bank (`torch.Tensor` of shape `(references, dimensions)`): embeddings of normal clips, float32 or float16.
        metric (`"cosine"` or `"euclidean"`, *optional*, defaults to `"cosine"`): the distance.
        num_neighbours (`int`, *optional*, defaults to 1): distances averaged into a score; cut to what the bank has.
        normalisation (`str`, *optional*, defaults to `"none"`): what becomes of a distance `d` to a reference whose
            mean distance to its own `density_neighbours` nearest references is `r`:
            - `"none"`: `d`;
            - `"ratio"`: `d / r`;
            - `"difference"`: `d - r`;
            - `"varmin"`: `d - a log r` with the `a` that gives leave-one-out scores the smallest variance.
        density_neighbours (`int`, *optional*, defaults to 4): cut to what the bank has. One reference has no
            neighbours; its distances stay as they are.

    References:
        K. Wilkinghoff et al. 2025, "Local Density-Based Anomaly Score Normalization for Domain Generalization" (arXiv
        2509.10951): ratio and difference. M. Matsumoto et al., DCASE workshop 2025: variance minimisation.
    """

    minimum_clips = 2

    def __init__(
        self,
        bank: torch.Tensor,
        metric: str = "cosine",
        num_neighbours: int = 1,
        normalisation: str = "none",
        density_neighbours: int = 4,
    ):
        self.bank, self.metric, self.normalisation = bank, metric, normalisation
        self.num_neighbours = min(num_neighbours, len(bank))
        self.centre = self._directions(bank[:CHUNK_REFERENCES]).mean(0)
        self.slope = 1.0
        self.density = None
        density_neighbours = min(density_neighbours, len(bank) - 1)
        if normalisation != "none" and density_neighbours > 0:
            self._measure_density(density_neighbours)

    def score(self, queries: torch.Tensor) -> torch.Tensor:
        """
        Anomaly scores of clips that are not in the bank.

        Args:
            queries (`torch.Tensor` of shape `(clips, dimensions)`): float32.

        Returns:
            `torch.Tensor` of shape `(clips,)`, float64, higher is more anomalous.
        """
        return self._search(queries, self.num_neighbours)[0].mean(1)

    def nearest(self, queries: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Normalised distances (float64, ascending) and bank rows (int64) of the nearest references, each of shape
        `(clips, min(count, references))`.
        """
        return self._search(queries, min(count, len(self.bank)))

    def leave_one_out(self) -> torch.Tensor:
        """
        The score that each clip of the bank would get, had the bank been built without it; `a` of `"varmin"`, one
        number from all clips, is kept.

        Returns:
            `torch.Tensor` of shape `(references,)`, float64.

        Raises:
            ValueError: the bank has a single clip.
        """
        if len(self.bank) < 2:
            raise ValueError("A bank of one clip has no leave-one-out scores; at least 2 normal clips are needed.")
        own = torch.arange(len(self.bank), device=self.bank.device)
        return self._search(self.bank, min(self.num_neighbours, len(self.bank) - 1), own)[0].mean(1)

    def _measure_density(self, neighbours: int):
        own = torch.arange(len(self.bank), device=self.bank.device)
        # One more than counted, for the references whose neighbour is left out.
        distances, self.neighbours = self._search(self.bank, min(neighbours + 1, len(self.bank) - 1), own)
        self.neighbours = self.neighbours[:, :neighbours]
        self.distances = distances[:, :neighbours]
        self.next = distances[:, neighbours] if distances.shape[1] > neighbours else None
        self.density = self.distances.mean(1).clamp_min(EPSILON)
        if self.normalisation == "varmin":
            scores, density = self.distances[:, 0], self.density[self.neighbours[:, 0]].log()
            variance = density.var(correction=0)
            covariance = ((scores - scores.mean()) * (density - density.mean())).mean()
            self.slope = float(covariance / variance) if variance > EPSILON else 0.0

    def _normalised(self, distances: torch.Tensor, density: torch.Tensor) -> torch.Tensor:
        if self.normalisation == "ratio":
            return distances / density
        if self.normalisation == "difference":
            return distances - density
        return distances - self.slope * density.log()

    def _density_without(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Left-out clips, references that counted them among their neighbours, and these references' density then."""
        count = self.neighbours.shape[1]
        references = torch.arange(len(self.bank), device=self.bank.device).repeat_interleave(count)
        total = self.distances.sum(1, keepdim=True) - self.distances
        if self.next is not None:
            density = (total + self.next[:, None]) / count
        elif count > 1:  # every other clip is a neighbour: one fewer remains
            density = total / (count - 1)
        else:  # alone in its bank: nothing to normalise by
            density = torch.full_like(total, 0.0 if self.normalisation == "difference" else 1.0)
        return self.neighbours.flatten(), references, density.clamp_min(EPSILON).flatten()

    def _search(self, queries: torch.Tensor, count: int, own: torch.Tensor | None = None):
        queries = queries.to(self.bank.device)
        size = min(len(self.bank), CHUNK_REFERENCES)
        parts = max(1, CHUNK_ENTRIES // (size if self.density is None or own is None else len(self.bank)))
        left_out = None if self.density is None or own is None else self._density_without()
        found = [
            self._search_part(part, count, None if own is None else own[start : start + len(part)], left_out)
            for start, part in zip(range(0, len(queries), parts), queries.split(parts), strict=True)
        ]
        return torch.cat([values for values, _ in found]), torch.cat([rows for _, rows in found])

    def _search_part(self, queries: torch.Tensor, count: int, own: torch.Tensor | None, left_out):
        density = self.density
        if left_out is not None:
            clips, references, changed = left_out
            density = density.expand(len(queries), -1).clone()
            inside = (clips >= own[0]) & (clips <= own[-1])
            density[clips[inside] - own[0], references[inside]] = changed[inside]
        centred = self._directions(queries) - self.centre
        squares = centred.square().sum(1, keepdim=True)
        best = None
        for start in range(0, len(self.bank), CHUNK_REFERENCES):
            references = self._directions(self.bank[start : start + CHUNK_REFERENCES]) - self.centre
            distances = torch.addmm(squares + references.square().sum(1), centred, references.T, alpha=-2).clamp_min_(
                0
            )
            distances = distances.div_(2) if self.metric == "cosine" else distances.sqrt_()
            if density is not None:
                distances = self._normalised(distances, density[..., start : start + len(references)].float())
            if own is not None:  # a clip is not its own neighbour
                inside = (own >= start) & (own < start + len(references))
                distances[inside, own[inside] - start] = torch.inf
            values, rows = distances.topk(min(count, len(references)), dim=1, largest=False)
            rows += start
            if best is not None:
                values, rows = torch.cat([best[0], values], 1), torch.cat([best[1], rows], 1)
                values, order = values.topk(min(count, values.shape[1]), dim=1, largest=False)
                rows = rows.gather(1, order)
            best = values, rows
        rows = best[1]
        exact = (self._directions(queries.double())[:, None] - self._directions(self.bank[rows].double())).square()
        values = exact.sum(2) / 2 if self.metric == "cosine" else exact.sum(2).sqrt()
        if density is not None:
            values = self._normalised(values, density[rows] if density.ndim == 1 else density.gather(1, rows))
        values, order = values.sort(1)
        return values, rows.gather(1, order)

    def _directions(self, rows: torch.Tensor) -> torch.Tensor:
        rows = rows if rows.dtype == torch.float64 else rows.float()
        return torch.nn.functional.normalize(rows, dim=-1) if self.metric == "cosine" else rows
