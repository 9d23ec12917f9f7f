"""Official scores of DCASE Task 2, as an `evaluate` module."""

# evaluate downloads only modules that this file imports, so it also imports those that its modules need.
# ruff: noqa: F401

import datasets
import evaluate

from hf_asd.data.dcase.years import ACCEPTED_YEARS, DEFAULT_YEAR
from hf_asd.metrics.bootstrap import bootstrap_official_scores, confidence_interval
from hf_asd.metrics.functional import check
from hf_asd.metrics.official_score import score_table


_DESCRIPTION = f"""
Official scores of DCASE Challenge Task 2, anomalous sound detection for machine condition monitoring,
{ACCEPTED_YEARS}: per machine and section, per machine, and in total.
"""

_KWARGS_DESCRIPTION = f"""
Args:
    prediction_scores (`list[float]`): anomaly scores, higher is more anomalous.
    references (`list[int]`): 1 for an anomaly, 0 for a normal clip.
    machine (`list[str]`): each clip's machine.
    section (`list[str]`): each clip's section, such as "00"; the machine id for 2020.
    domain (`list[str]`): "source" or "target"; not used for years without domains.
    year (`int`, *optional*, defaults to {DEFAULT_YEAR}): challenge year that defines the score, {ACCEPTED_YEARS}.
    decisions (`list[int]`, *optional*): 1 where an anomaly was detected; adds precision, recall and F1 per domain.
    max_fpr (`float`, *optional*, defaults to 0.1): largest false-positive rate of the partial AUC.
    resamples (`int`, *optional*, defaults to 0): number of bootstrap resamples; adds `confidence_interval`, 95 %.

Returns:
    `dict` with `official_score`, `arithmetic_mean` and `harmonic_mean` (`float`), the means of the year's terms
    (`auc_source`, `auc_target`, `pauc` from 2022 on), `machines` (machine -> its scores) and `sections` (one
    dictionary per section).

Raises:
    ValueError: a score is NaN, a label is not 0 or 1, a class or a domain has no clip, the lengths differ, the year is
        unknown; names machine and section.

Examples:
    >>> dcase_score = evaluate.load("hf_asd/metrics/dcase_score")
    >>> dcase_score.compute(
    ...     prediction_scores=[0.1, 0.9, 0.2, 0.8],
    ...     references=[0, 1, 0, 1],
    ...     machine=["fan"] * 4,
    ...     section=["00"] * 4,
    ...     domain=["source", "source", "target", "target"],
    ...     year={DEFAULT_YEAR},
    ... )["official_score"]
    1.0
"""

_CITATION = """
@article{nishida2025description,
  title={Description and Discussion on {DCASE} 2025 Challenge Task 2: First-shot Unsupervised Anomalous Sound Detection
         for Machine Condition Monitoring},
  author={Nishida, Tomoya and Harada, Noboru and Niizumi, Daisuke and Albertini, Davide and Sannino, Roberto and
          Pradolini, Simone and Augusti, Filippo and Imoto, Keisuke and Dohi, Kota and Purohit, Harsh and
          Endo, Takashi and Kawaguchi, Yohei},
  journal={arXiv preprint arXiv:2506.10097},
  year={2025}
}
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class DCASEScore(evaluate.Metric):
    def _info(self):
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features(
                {
                    "prediction_scores": datasets.Value("float64"),
                    "references": datasets.Value("int64"),
                    "machine": datasets.Value("string"),
                    "section": datasets.Value("string"),
                    "domain": datasets.Value("string"),
                }
            ),
        )

    def _compute(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        prediction_scores,
        references,
        machine,
        section,
        domain,
        year=DEFAULT_YEAR,
        decisions=None,
        max_fpr=0.1,
        resamples=0,
    ):
        columns = (references, prediction_scores, machine, section, domain)
        result = score_table(*columns, year, decisions=decisions, max_fpr=max_fpr)
        if resamples:
            samples = bootstrap_official_scores(*columns, year, resamples=resamples, max_fpr=max_fpr)
            result["confidence_interval"] = confidence_interval(samples)
        return result
