"""Kaldi's log-mel filter bank in batches, in torch: the front end that EAT and BEATs share."""

import warnings

import numpy as np
import torch
from transformers import BatchFeature
from transformers.audio_utils import mel_filter_bank, window_function
from transformers.feature_extraction_sequence_utils import SequenceFeatureExtractor


FRAME_SAMPLES, HOP_SAMPLES, FFT_SAMPLES = 400, 160, 512  # 25 ms and 10 ms at 16 kHz
PREEMPHASIS = 0.97
ENERGY_FLOOR = torch.finfo(torch.float32).eps  # Kaldi's, under the logarithm
CHUNK_CLIPS = 1  # bounds the memory, and larger products leave the processor's cache
MEL_GROUPS = 4  # products of a group of mel bands with its own bins: most filters are zero elsewhere


class FilterBankExtractor(SequenceFeatureExtractor):
    """
    Log-mel filter bank as of Kaldi (HTK mel scale, 25 ms window, 10 ms hop, no dither), normalized.

    A subclass says what its published weights were trained with: window, scale and what becomes of the last frames.

    Args:
        feature_size (`int`):
            Mel bands.
        sampling_rate (`int`):
            Rate in Hz of the recordings; no other is accepted.
        padding_value (`float`):
            Log energy of the frames that are appended, before the normalization.
        do_normalize (`bool`):
            Whether `(x - mean) / (2 std)` is taken.
        mean (`float` or `list[float]`), std (`float` or `list[float]`):
            Of the log energies, of all mel bands together or of each.
        patch_size (`int`):
            Frames of a patch.
    """

    model_input_names = ["input_values"]
    window: str  # Kaldi's name of it
    full_scale: float  # what a sample of 1 counts
    num_frames: int | None = None  # frames of every clip, whatever its length; none: as many as it has
    fill_patches: bool  # whether frames are filled up to whole patches; otherwise the model cuts the rest off

    def __init__(self, feature_size, sampling_rate, padding_value, do_normalize, mean, std, patch_size, **kwargs):
        super().__init__(feature_size=feature_size, sampling_rate=sampling_rate, padding_value=padding_value, **kwargs)
        self.do_normalize = do_normalize
        self.mean = mean
        self.std = std
        self.patch_size = patch_size
        with warnings.catch_warnings():
            # The lowest of 128 bands are narrower than a bin of the spectrum, and stay empty in Kaldi as well.
            warnings.filterwarnings("ignore", message="At least one mel filter has all zero values")
            filters = mel_filter_bank(
                num_frequency_bins=FFT_SAMPLES // 2 + 1,
                num_mel_filters=feature_size,
                min_frequency=20,
                max_frequency=sampling_rate // 2,
                sampling_rate=sampling_rate,
                norm=None,
                mel_scale="kaldi",
                triangularize_in_mel_space=True,
            )
        self._filters = torch.from_numpy(filters.astype(np.float32))
        self._groups = [_with_own_bins(filters) for filters in self._filters.chunk(MEL_GROUPS, dim=1)]
        window = self.full_scale * window_function(FRAME_SAMPLES, self.window, periodic=False)
        self._window = torch.from_numpy(window.astype(np.float32))

    def to_dict(self) -> dict:
        content = super().to_dict()
        del content["_filters"], content["_groups"], content["_window"]  # constants, not settings
        return content

    @property
    def filter_bank(self) -> dict:
        """What its log energies depend on; extractors that agree in it differ in what becomes of them only."""
        return {
            "window": self.window,
            "full_scale": self.full_scale,
            "feature_size": self.feature_size,
            "sampling_rate": self.sampling_rate,
        }

    def log_mel(self, waveforms: torch.Tensor) -> torch.Tensor:
        """
        Log energies, neither normalized nor filled up.

        Args:
            waveforms (`torch.Tensor` of shape `(clips, samples)`): float32, full scale at 1, 16 kHz.

        Returns:
            `torch.Tensor` of shape `(clips, frames, feature_size)`, float32, natural logarithms;
            `frames = (samples - 400) // 160 + 1`, 998 for 10 s.

        Raises:
            ValueError: fewer than 400 samples, or not two dimensions.
        """
        if waveforms.ndim != 2 or waveforms.shape[1] < FRAME_SAMPLES:
            raise ValueError(
                f"waveforms has the shape {tuple(waveforms.shape)}; accepted is (clips, samples) with at least "
                f"{FRAME_SAMPLES} samples (25 ms at 16 kHz)."
            )
        device, window = waveforms.device, self._window.to(waveforms.device)
        groups = [(bins, filters.to(device)) for bins, filters in self._groups]
        result = []
        for chunk in waveforms.split(CHUNK_CLIPS):
            chunk = chunk - chunk.mean(1, keepdim=True)  # frames lose theirs anyway; digits are kept where it is large
            frames = chunk.unfold(1, FRAME_SAMPLES, HOP_SAMPLES)
            means = frames.mean(-1, keepdim=True)
            # A frame loses its mean before it is pre-emphasized: x[n] - m - 0.97 (x[n-1] - m), where x[-1] is x[0].
            # Differences are taken once for all frames, which overlap; of the mean 1 - 0.97 is left.
            differences = torch.nn.functional.pad(chunk[:, 1:] - PREEMPHASIS * chunk[:, :-1], (1, 0))
            padded = torch.zeros(*frames.shape[:2], FFT_SAMPLES, device=device)
            emphasized = padded[..., :FRAME_SAMPLES]
            torch.sub(differences.unfold(1, FRAME_SAMPLES, HOP_SAMPLES), (1 - PREEMPHASIS) * means, out=emphasized)
            emphasized[..., 0] = (1 - PREEMPHASIS) * (frames[..., 0] - means[..., 0])
            emphasized *= window
            squares = torch.view_as_real(torch.fft.rfft(padded)).square_()  # adjacent in memory, real and imaginary
            power = squares[..., 0] + squares[..., 1]
            energies = torch.cat([power[..., bins] @ filters for bins, filters in groups], dim=-1)
            result.append(energies.clamp_min_(ENERGY_FLOOR).log_())
        return torch.cat(result)

    def __call__(
        self,
        raw_speech: np.ndarray | torch.Tensor | list[np.ndarray],
        sampling_rate: int | None = None,
        return_tensors: str | None = None,
        return_attention_mask: bool = False,
        device: str | torch.device = "cpu",
        **kwargs,
    ) -> BatchFeature:
        """
        Args:
            raw_speech (`np.ndarray`, `torch.Tensor` or a list of them):
                One recording of shape `(samples,)`, several of shape `(clips, samples)`, or a list of recordings whose
                lengths may differ; mono, full scale at 1.
            sampling_rate (`int`):
                Rate of the recordings in Hz; it is checked against the extractor's.
            return_tensors (`str`, *optional*):
                `"pt"` or `"np"`.
            return_attention_mask (`bool`, *optional*, defaults to `False`):
                Whether to say which frames come from a recording; the model needs it where lengths differ.
            device (`str` or `torch.device`, *optional*, defaults to `"cpu"`):
                Where the log energies are computed, and stay.

        Returns:
            `BatchFeature` with `input_values` of shape `(clips, frames, feature_size)`, float32, and, if asked for,
            `attention_mask` of shape `(clips, frames)`, int64, 1 where a frame comes from a recording. `frames` is the
            longest recording's number, which some extractors raise to a multiple of `patch_size` (10 s have 998 frames
            or 1008).

        Raises:
            ValueError: another or no sampling rate, an empty list, a recording that is not mono or too short.
        """
        if sampling_rate != self.sampling_rate:
            raise ValueError(
                f"sampling_rate is {sampling_rate}; accepted is {self.sampling_rate}. Resample the recordings first "
                "(hf_asd.audio.reading.read_audio does), and say their rate."
            )
        clips = [torch.as_tensor(clip, dtype=torch.float32) for clip in raw_speech] if len(raw_speech) else []
        if clips and clips[0].ndim == 0:
            clips = [torch.as_tensor(raw_speech, dtype=torch.float32)]
        clips = [clip.to(device) for clip in clips]
        minimum = FRAME_SAMPLES + (0 if self.fill_patches else (self.patch_size - 1) * HOP_SAMPLES)
        shapes = {tuple(clip.shape) for clip in clips if clip.ndim != 1 or len(clip) < minimum}
        if not clips or shapes:
            raise ValueError(
                f"found {', '.join(map(str, shapes)) or 'no recording'}; accepted are mono recordings of shape "
                f"(samples,) with at least {minimum} samples each."
            )
        lengths = [len(clip) for clip in clips]
        if len(set(lengths)) == 1:
            log_mels = list(self.log_mel(torch.stack(clips)))
        else:
            log_mels = [self.log_mel(clip[None])[0] for clip in clips]
        return self.from_log_mel(log_mels, return_tensors, return_attention_mask)

    def from_log_mel(
        self,
        log_mels: list[torch.Tensor],
        return_tensors: str | None = None,
        return_attention_mask: bool = False,
    ) -> BatchFeature:
        """
        As calling the extractor, from log energies that were computed before.

        Args:
            log_mels (`list[torch.Tensor]`): of [`~FilterBankExtractor.log_mel`], each of shape
                `(frames, feature_size)`.
            return_tensors, return_attention_mask: as for calling.
        """
        device = log_mels[0].device
        frames = max(len(log_mel) for log_mel in log_mels)
        if self.num_frames is not None:
            frames, log_mels = self.num_frames, [log_mel[: self.num_frames] for log_mel in log_mels]
        elif self.fill_patches:
            frames = -(-frames // self.patch_size) * self.patch_size
        filled = torch.full((len(log_mels), frames, self.feature_size), self.padding_value, device=device)
        for row, log_mel in enumerate(log_mels):
            filled[row, : len(log_mel)] = log_mel
        if self.do_normalize:
            mean, std = (torch.tensor(values, device=device) for values in (self.mean, self.std))
            filled.sub_(mean).div_(2 * std)
        features = {"input_values": filled}
        if return_attention_mask:
            frame_counts = torch.tensor([len(log_mel) for log_mel in log_mels], device=device)
            features["attention_mask"] = (torch.arange(frames, device=device) < frame_counts[:, None]).long()
        return BatchFeature(features).convert_to_tensors(return_tensors)


def _with_own_bins(filters: torch.Tensor) -> tuple[slice, torch.Tensor]:
    """The bins of the spectrum that some filters, a column each, are made of, and the filters over these bins."""
    used = filters.any(1).nonzero().flatten().tolist()
    bins = slice(used[0], used[-1] + 1)
    return bins, filters[bins].contiguous()
