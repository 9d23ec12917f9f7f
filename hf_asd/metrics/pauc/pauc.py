"""Partial area under the ROC curve, as an `evaluate` module."""

import datasets
import evaluate

from hf_asd.metrics.functional import pauc


_DESCRIPTION = """
Area under the ROC curve up to a false-positive rate, standardized after McClish (1989): 0.5 is chance, 1 is perfect.
A detector with many false alarms is switched off, so what it finds at a low false-alarm rate matters most.
"""

_KWARGS_DESCRIPTION = """
Args:
    prediction_scores (`list[float]`): anomaly scores, higher is more anomalous.
    references (`list[int]`): 1 for an anomaly, 0 for a normal clip.
    max_fpr (`float`, *optional*, defaults to 0.1): the largest false-positive rate, above 0 and at most 1. With 1 it
        is the ordinary AUC.

Returns:
    `dict` with `pauc` (`float` in [0, 1]). Tied scores count half; infinite scores rank first or last.

Raises:
    ValueError: a score is NaN, a label is not 0 or 1, or one class has no clip.

Examples:
    >>> pauc = evaluate.load("hf_asd/metrics/pauc")
    >>> pauc.compute(prediction_scores=[0.1, 0.4, 0.35, 0.8], references=[0, 0, 1, 1])
    {'pauc': 0.736842...}
"""

_CITATION = """
@article{mcclish1989analyzing,
  title={Analyzing a portion of the {ROC} curve},
  author={McClish, Donna Katzman},
  journal={Medical Decision Making},
  volume={9},
  number={3},
  pages={190--195},
  year={1989}
}
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class PAUC(evaluate.Metric):
    def _info(self):
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features(
                {"prediction_scores": datasets.Value("float64"), "references": datasets.Value("int64")}
            ),
        )

    def _compute(self, prediction_scores, references, max_fpr=0.1):  # pyright: ignore[reportIncompatibleMethodOverride]
        return {"pauc": pauc(references, prediction_scores, max_fpr)}
