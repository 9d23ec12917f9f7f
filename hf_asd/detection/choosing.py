"""Which encoder a detector uses, and whether its options fit that encoder."""

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

from datasets import Dataset

from ..audio.reading import BadAudioError
from ..audio.recording import open_recording
from ..audio.windows import WindowRule
from ..data.schema import undecoded_audio
from ..embedding.embed import Encoder
from ..embedding.statistics import SpectralStatistics
from ..hub.transfer import hub_id
from ..models.bundled_encoder import BUNDLED_ENCODER, BUNDLED_MIN_CLIPS
from .config import DetectorConfig


AUTO = "auto"


def choose_encoder(
    encoder: Encoder | str | Path | None, config: DetectorConfig
) -> tuple[Encoder, DetectorConfig, str | None]:
    """
    Loads an encoder with the options of a config, and completes the config by the encoder's own values.

    Args:
        encoder (`Encoder`, `str`, `Path` or `None`): as for [`~hf_asd.AnomalyDetector`]. `"auto"` gives spectral
            statistics, until the normal clips are known ([`uses_bundled_encoder`]).
        config ([`DetectorConfig`]): the options.

    Returns:
        `tuple`: the encoder, the completed config, and the encoder's id on the Hub, if it has one.

    Raises:
        ValueError: an option is given that this encoder does not use.
        OSError: there is no such encoder.
    """
    if encoder is None or encoder == AUTO or isinstance(encoder, SpectralStatistics):
        for option in config.given_encoder_options():
            raise ValueError(
                f"{option} is {getattr(config, option)!r}, which is for an encoder that you name (a folder or an id "
                f"on the Hub); encoder is {AUTO if encoder == AUTO else 'none'}."
            )
        if encoder == AUTO and config.statistics is not None:
            raise ValueError(
                f"statistics is {config.statistics!r}, which is for detectors without an encoder; encoder is auto."
            )
        statistics = (
            encoder
            if isinstance(encoder, SpectralStatistics)
            else SpectralStatistics(config.statistics or "band_statistics")
        )
        if config.statistics not in (None, statistics.statistics):
            raise ValueError(f"statistics is {config.statistics!r}, but the encoder gives {statistics.statistics!r}.")
        return statistics, replace(config, statistics=statistics.statistics), None
    if config.statistics is not None:
        raise ValueError(
            f"statistics is {config.statistics!r}, which is for detectors without an encoder; leave it out, or set "
            "with_statistics for spectral statistics beside the encoder."
        )
    if isinstance(encoder, str | Path):
        loaded = config.load_encoder(encoder)
        used = {"pooling": loaded.pooling, "pooling_parameter": loaded.pooling_parameter, "layer": loaded.layer}
        return loaded, replace(config, **used), hub_id(encoder)
    return encoder, _completed(config, encoder), None


def _completed(config: DetectorConfig, encoder: Encoder) -> DetectorConfig:
    """The config with the values of a loaded transformer encoder, which must not contradict it."""
    own = {
        "pooling": getattr(encoder, "pooling", None),
        "pooling_parameter": getattr(encoder, "pooling_parameter", None),
        "layer": getattr(encoder, "layer", None),
        "clamp_outlier_channels": getattr(encoder, "clamp_outlier_channels", False),
        "with_statistics": getattr(encoder, "statistics", None) is not None,
    }
    for option in config.given_encoder_options():
        given = getattr(config, option)
        # A layer may be counted from the last one; the encoder has its number from the first.
        if given != own[option] and not (option == "layer" and isinstance(given, int) and given < 0):
            raise ValueError(f"{option} is {given!r}, but the encoder was loaded with {own[option]!r}.")
    return replace(config, **own)


def uses_bundled_encoder(rows: Dataset, rule: WindowRule | None = None) -> bool:
    """
    Whether every machine has enough normal clips for the bundled encoder; fewer give no stable memory bank.

    Args:
        rows (`datasets.Dataset`): normal clips.
        rule ([`~hf_asd.audio.windows.WindowRule`], *optional*): which of them will be cut. How many windows they have
            is taken from their headers, so that a wrong header can only make the answer too hopeful.
    """
    counts = Counter(rows["machine"][:])
    few = {machine for machine, count in counts.items() if count < BUNDLED_MIN_CLIPS}
    if rule is not None and few:
        for machine, audio in zip(rows["machine"][:], undecoded_audio(rows), strict=True):
            counts[machine] += _promised_windows(audio, rule) - 1 if machine in few else 0
    return min(counts.values()) >= BUNDLED_MIN_CLIPS


def _promised_windows(audio: dict, rule: WindowRule) -> int:
    """How many windows a recording has according to its header; many where that is silent, 1 if it is unusable."""
    try:
        with open_recording(audio) as recording:
            if recording.promised_frames is None:
                return BUNDLED_MIN_CLIPS
            seconds = recording.promised_frames / recording.sampling_rate
    except BadAudioError:
        return 1
    return 1 if seconds < rule.from_seconds else math.ceil(seconds / rule.seconds)


def bundled_encoder(config: DetectorConfig) -> tuple[Encoder, DetectorConfig]:
    """The encoder that comes with the package, beside spectral statistics, and the config for both."""
    config = replace(config, statistics=None, pooling="bands_std", with_statistics=True)
    return config.load_encoder(BUNDLED_ENCODER), config
