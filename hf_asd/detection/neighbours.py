"""Nearest neighbours among normal embeddings, normalised by the local density of the memory bank."""

import torch


CHUNK = 1024  # queries a time, so that memory stays bounded by the bank's size
EPSILON = 1e-12  # below it a distance is the rounding of float32 embeddings


def cosine_distances(queries: torch.Tensor, bank: torch.Tensor) -> torch.Tensor:
    """
    Cosine distances between embeddings.

    Args:
        queries (`torch.Tensor` of shape `(queries, dimensions)`): float32.
        bank (`torch.Tensor` of shape `(references, dimensions)`): float32.

    Returns:
        `torch.Tensor` of shape `(queries, references)`, float64, between 0 and 2.
    """
    # Clips of one machine lie so close together that one minus a cosine in single precision is mostly rounding.
    queries = torch.nn.functional.normalize(queries.double(), dim=1)
    bank = torch.nn.functional.normalize(bank.double(), dim=1)
    return (1 - queries @ bank.T).clamp_min(0)


class NearestNeighbours:
    """
    Cosine distance to the nearest normal clip, divided by how far that clip lies from its own neighbours.

    A reference in a dense region has a small distance to its neighbours, so the same distance to it counts for more
    (local-density normalisation, K. Wilkinghoff et al. 2025, "Local Density-Based Anomaly Score Normalization for
    Domain Generalization", the ratio form). One object holds one domain's bank: source and target differ in size and
    density.

    Args:
        bank (`torch.Tensor` of shape `(references, dimensions)`): embeddings of normal clips, float32.
        num_neighbours (`int`, *optional*, defaults to 1): distances averaged into a score.
        density_neighbours (`int`, *optional*, defaults to 4): neighbours that make a reference's local density; 0
            switches the normalisation off. Cut to what the bank has.
    """

    def __init__(self, bank: torch.Tensor, num_neighbours: int = 1, density_neighbours: int = 4):
        self.bank = bank
        self.num_neighbours = min(num_neighbours, len(bank))
        # One reference has no neighbour to tell its density by.
        self.density_neighbours = min(density_neighbours, len(bank) - 1)
        self.density = self._normaliser(self._sorted_bank_distances())

    def score(self, queries: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Anomaly scores of clips that are not in the bank.

        Args:
            queries (`torch.Tensor` of shape `(clips, dimensions)`): float32.

        Returns:
            `tuple[torch.Tensor, torch.Tensor]`, each of shape `(clips,)`: scores (float64, higher is more anomalous)
            and the bank's row of the nearest reference (int64).
        """
        parts = [cosine_distances(part, self.bank) / self.density for part in queries.split(CHUNK)]
        nearest = [part.topk(self.num_neighbours, dim=1, largest=False) for part in parts]
        return torch.cat([n.values.mean(1) for n in nearest]), torch.cat([n.indices[:, 0] for n in nearest])

    def leave_one_out(self) -> torch.Tensor:
        """
        The score that each clip of the bank would get, had the bank been built without it.

        Returns:
            `torch.Tensor` of shape `(references,)`, float64.

        Raises:
            ValueError: the bank has a single clip.
        """
        if len(self.bank) < 2:
            raise ValueError("A bank of one clip has no leave-one-out scores; at least 2 normal clips are needed.")
        references, k = len(self.bank), min(self.num_neighbours, len(self.bank) - 1)
        distances = cosine_distances(self.bank, self.bank)
        ordered = self._sorted_bank_distances()
        scores = torch.empty(references, dtype=torch.float64)
        for row in range(references):
            # A reference that counted this clip among its neighbours gets its next one instead.
            neighbours = ordered[:, : self.density_neighbours + 1]
            if 0 < self.density_neighbours < references - 1:
                own = distances[:, row, None]
                kept = neighbours[:, : self.density_neighbours]
                counted = own <= kept[:, -1:]
                total = kept.sum(1) + counted[:, 0] * (neighbours[:, -1] - own[:, 0])
                density = (total / self.density_neighbours).clamp_min(EPSILON)
            elif self.density_neighbours and references > 2:
                # Every other clip is a neighbour: one fewer remains.
                total = ordered[:, : references - 1].sum(1) - distances[:, row]
                density = (total / (references - 2)).clamp_min(EPSILON)
            else:
                density = torch.ones(references, dtype=torch.float64)
            normalised = distances[row] / density
            normalised[row] = torch.inf
            scores[row] = normalised.topk(k, largest=False).values.mean()
        return scores

    def _sorted_bank_distances(self) -> torch.Tensor:
        distances = cosine_distances(self.bank, self.bank)
        distances.fill_diagonal_(torch.inf)  # a clip is not its own neighbour
        return distances.topk(min(self.density_neighbours + 1, len(self.bank)), dim=1, largest=False).values

    def _normaliser(self, ordered: torch.Tensor) -> torch.Tensor:
        if self.density_neighbours == 0:
            return torch.ones(len(self.bank), dtype=torch.float64)
        return ordered[:, : self.density_neighbours].mean(1).clamp_min(EPSILON)
