"""The graph of a bundle: everything from the waveform to the decision."""

import torch
from torch import nn

from ..detection.detector import AnomalyDetector
from ..embedding.band_statistics import NUM_BANDS, SPECTRUM_SIZE
from .embeddings import embedding_module
from .input_checks import USABLE, InputChecks
from .scoring import score


NORMAL, ANOMALY, NO_DECISION = 0, 1, -1
OUTPUTS = {
    "anomaly_score": "float64, higher is more anomalous",
    "p_value": "float64, the share of normal recordings that score as high",
    "decision": f"int64, {NORMAL} normal, {ANOMALY} anomaly, {NO_DECISION} no decision",
    "no_decision": "int64, why there is none: the number of its text among no_decision_reasons, from 1; 0: usable",
    "is_unusual": "bool, not enough for an anomaly, but above nearly all normal recordings",
    "band_deviations": "float32 (clips, bands), the largest deviation of each band from what the others let expect, "
    "in standard deviations, with its sign",
}


class DetectorGraph(nn.Module):
    """
    One machine of a detector.

    Args:
        detector ([`AnomalyDetector`]): a fitted one.
        machine (`str`): one of its machines.

    Raises:
        ValueError: the encoder or the statistics cannot be exported.
    """

    normal_scores: torch.Tensor
    weights: torch.Tensor

    def __init__(self, detector: AnomalyDetector, machine: str):
        super().__init__()
        bank, profile = detector.machines[machine], detector.profiles.get(machine)
        self.embed = embedding_module(detector.encoder)
        self.checks = InputChecks(profile.ranges if profile else None)
        self.scorer, self.threshold, self.unusual_threshold = bank.scorer, bank.threshold, bank.unusual_threshold
        self.register_buffer("normal_scores", torch.from_numpy(bank.normal_scores))
        self.register_buffer("weights", torch.from_numpy(bank.weights))
        self.deviations = None if bank.deviations is None else bank.deviations.gaussian

    @property
    def output_names(self) -> list[str]:
        """Names of what [`forward`] returns."""
        return [name for name in OUTPUTS if name != "band_deviations" or self.deviations is not None]

    def forward(self, waveform: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """
        Args:
            waveform (`torch.Tensor` of shape `(clips, samples)`): float32, 16 kHz, full scale at 1.

        Returns:
            `tuple`: one value a clip, as [`OUTPUTS`] describes them.
        """
        embeddings = self.embed(waveform)
        scores = score(self.scorer, embeddings)
        as_high = ((self.normal_scores >= scores[:, None]) * self.weights).sum(1)
        no_decision = self.checks(waveform)
        is_usable = no_decision == USABLE
        decision = torch.where(is_usable, (scores > self.threshold).long(), NO_DECISION)
        is_unusual = is_usable & (scores > self.unusual_threshold) & (scores <= self.threshold)
        outputs = (scores, (as_high + 1) / (self.weights.sum() + 1), decision, no_decision, is_unusual)
        if self.deviations is None:
            return outputs
        deviations = self.deviations.deviations_of(embeddings[:, :SPECTRUM_SIZE]).unflatten(1, (-1, NUM_BANDS))
        largest = deviations.abs().argmax(1, keepdim=True)
        return (*outputs, deviations.gather(1, largest)[:, 0].float())
