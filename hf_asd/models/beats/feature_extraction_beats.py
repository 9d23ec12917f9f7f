"""BEATs feature extraction."""

import math

from ...audio.filter_bank import ENERGY_FLOOR, FilterBankExtractor


class BeatsFeatureExtractor(FilterBankExtractor):
    r"""
    Log-mel filter bank as in Kaldi (HTK mel scale, 25 ms Povey window, 10 ms hop, no dither) of 16-bit samples,
    normalized. Frames are not padded to whole patches: the model drops an incomplete last patch.

    Args:
        feature_size (`int`, *optional*, defaults to 128):
            Mel bands.
        sampling_rate (`int`, *optional*, defaults to 16000):
            Sampling rate of the recordings in Hz; other rates are an error.
        padding_value (`float`, *optional*):
            Log energy of the frames that pad shorter recordings, before the normalization; by default that of digital
            silence.
        do_normalize (`bool`, *optional*, defaults to `True`):
            Whether the output is `(x - mean) / (2 std)`.
        mean (`float`, *optional*, defaults to 15.41663), std (`float`, *optional*, defaults to 6.55582):
            Mean and standard deviation of the log energies; the defaults are those of AudioSet.
        patch_size (`int`, *optional*, defaults to 16):
            Frames per patch; a recording must have at least as many (175 ms).
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
