"""The `evaluate` modules of this package, loaded from where the package is installed."""

from pathlib import Path


METRICS = ("pauc", "dcase_score")


def load_metric(name: str):
    """
    A metric of this package as an `evaluate` module, loaded from the installed package; nothing is downloaded.

    Args:
        name (`str`): `"pauc"` or `"dcase_score"`.

    Returns:
        `evaluate.Metric`: the same as `evaluate.load("hf_asd/metrics/<name>")` in a copy of the repository.

    Raises:
        ValueError: the name is unknown.

    Example:

    ```python
    >>> from hf_asd.metrics.loading import load_metric
    >>> load_metric("pauc").compute(prediction_scores=[0.1, 0.2, 0.8], references=[0, 0, 1])
    {'pauc': 1.0}
    ```
    """
    if name not in METRICS:
        raise ValueError(f"name is {name!r}; accepted are {', '.join(METRICS)}.")
    import evaluate

    return evaluate.load(str(Path(__file__).parent / name))
