"""BEATs feature extraction."""

import math

from ...audio.filter_bank import ENERGY_FLOOR, FilterBankExtractor


class BeatsFeatureExtractor(FilterBankExtractor):
    r"""
    Log-mel filter bank as of Kaldi (HTK mel scale, 25 ms Povey window, 10 ms hop, no dither) of samples of 16 bits,
    normalized. Frames are not filled up to whole patches: the model cuts off what is short of one.

    Args:
        feature_size (`int`, *optional*, defaults to 128):
            Mel bands.
        sampling_rate (`int`, *optional*, defaults to 16000):
            Rate in Hz of the recordings; no other is accepted.
        padding_value (`float`, *optional*):
            Log energy of the frames that are appended to the shorter recordings, before the normalization; by default
            that of digital silence.
        do_normalize (`bool`, *optional*, defaults to `True`):
            Whether `(x - mean) / (2 std)` is taken.
        mean (`float`, *optional*, defaults to 15.41663), std (`float`, *optional*, defaults to 6.55582):
            Of the log energies; the defaults are AudioSet's.
        patch_size (`int`, *optional*, defaults to 16):
            Frames of a patch; a recording has at least as many (175 ms).
    """

    window = "povey"
    full_scale = 2.0**15
    fill_patches = False

    def __init__(
        self,
        feature_size: int = 128,
        sampling_rate: int = 16_000,
        padding_value: float = math.log(ENERGY_FLOOR),
        do_normalize: bool = True,
        mean: float = 15.41663,
        std: float = 6.55582,
        patch_size: int = 16,
        **kwargs,
    ):
        super().__init__(feature_size, sampling_rate, padding_value, do_normalize, mean, std, patch_size, **kwargs)
