"""Classes of very different size (990 source clips, 10 target clips): heard as often, or weighed as much."""

import numpy as np


BALANCES = ("none", "sampling", "weights")


def balance_weights(labels: list[int]) -> np.ndarray:
    """
    Weights under which all classes count the same.

    Args:
        labels (`list[int]`): the class of every clip.

    Returns:
        `np.ndarray` of shape `(clips,)`, float64, with a mean of 1: inverse to the size of the clip's class.
    """
    _, places, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    return len(labels) / (len(sizes) * sizes[places])
