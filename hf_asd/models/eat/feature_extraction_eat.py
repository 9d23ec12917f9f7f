"""EAT feature extraction."""

from ...audio.filter_bank import FilterBankExtractor


class EatFeatureExtractor(FilterBankExtractor):
    r"""
    Log-mel filter bank as in Kaldi (HTK mel scale, 25 ms symmetric Hann window, 10 ms hop, no dither), normalized.

    Args:
        feature_size (`int`, *optional*, defaults to 128):
            Mel bands.
        sampling_rate (`int`, *optional*, defaults to 16000):
            Sampling rate of the recordings in Hz; other rates are an error.
        padding_value (`float`, *optional*, defaults to 0.0):
            Log energy of padding frames, before the normalization.
        do_normalize (`bool`, *optional*, defaults to `True`):
            Whether the output is `(x - mean) / (2 std)`.
        mean (`float` or `list[float]`, *optional*, defaults to -4.268),
        std (`float` or `list[float]`, *optional*, defaults to 4.569):
            Mean and standard deviation of the log energies, of all mel bands together or of each; the defaults are
            those of AudioSet.
        patch_size (`int`, *optional*, defaults to 16):
            The number of frames is padded to a multiple of it (1008 for 10 s).
        num_frames (`int`, *optional*):
            Cut or pad all recordings to this number of frames, a multiple of `patch_size`. EAT was trained with 1024.
    """

    window = "hann"
    full_scale = 1.0
    fill_patches = True

    def __init__(
        self,
        feature_size: int = 128,
        sampling_rate: int = 16_000,
        padding_value: float = 0.0,
        do_normalize: bool = True,
        mean: float | list[float] = -4.268,
        std: float | list[float] = 4.569,
        patch_size: int = 16,
        num_frames: int | None = None,
        **kwargs,
    ):
        super().__init__(feature_size, sampling_rate, padding_value, do_normalize, mean, std, patch_size, **kwargs)
        self.num_frames = num_frames
        self.check_num_frames()

    def check_num_frames(self) -> None:
        """
        Checks the fixed number of frames.

        Raises:
            ValueError: it is not a multiple of `patch_size`.
        """
        if self.num_frames is not None and (self.num_frames < 1 or self.num_frames % self.patch_size):
            raise ValueError(
                f"num_frames is {self.num_frames}; accepted are multiples of patch_size ({self.patch_size}) and none."
            )
