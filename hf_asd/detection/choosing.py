"""Which encoder a detector uses, and whether its options fit that encoder."""

from dataclasses import replace
from pathlib import Path

from ..embedding.embed import Encoder
from ..embedding.statistics import SpectralStatistics
from ..hub.transfer import hub_id
from ..models.bundled_encoder import BUNDLED_ENCODER
from .config import DetectorConfig


BUNDLED = "bundled"


def choose_encoder(
    encoder: Encoder | str | Path | None, config: DetectorConfig
) -> tuple[Encoder, DetectorConfig, str | None]:
    """
    Loads an encoder with the options of a config, and completes the config by the encoder's own values.

    Args:
        encoder (`Encoder`, `str`, `Path` or `None`): as for [`~hf_asd.AnomalyDetector`].
        config ([`DetectorConfig`]): the options.

    Returns:
        `tuple`: the encoder, the completed config, and the encoder's id on the Hub, if it has one.

    Raises:
        ValueError: an option is given that this encoder does not use.
        OSError: there is no such encoder.
    """
    if encoder is None or isinstance(encoder, SpectralStatistics):
        for option in config.given_encoder_options():
            raise ValueError(
                f"{option} is {getattr(config, option)!r}, which is for an encoder that you name (a folder or an id "
                "on the Hub); encoder is none."
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
    if encoder == BUNDLED:
        encoder, config = BUNDLED_ENCODER, replace(config, pooling=config.pooling or "bands_std", with_statistics=True)
    if isinstance(encoder, str | Path):
        loaded = config.load_encoder(encoder)
        used = {"pooling": loaded.pooling, "pooling_parameter": loaded.pooling_parameter, "layer": loaded.layer}
        return loaded, replace(config, **used), hub_id(encoder)
    return encoder, _completed(config, encoder), None


def _completed(config: DetectorConfig, encoder: Encoder) -> DetectorConfig:
    """The config with the values of a loaded transformer encoder, which must not contradict it."""
    has_statistics = getattr(encoder, "statistics", None) is not None
    own = {
        "pooling": getattr(encoder, "pooling", None),
        "pooling_parameter": getattr(encoder, "pooling_parameter", None),
        "layer": getattr(encoder, "layer", None),
        "clamp_outlier_channels": getattr(encoder, "clamp_outlier_channels", False),
        "precision": getattr(encoder, "precision", "fp32"),
        "with_statistics": has_statistics,
        "encoder_weight": config.encoder_weight if has_statistics else 1.0,
    }
    for option in config.given_encoder_options():
        given = getattr(config, option)
        # A layer may be counted from the last one; the encoder has its number from the first.
        if given != own[option] and not (option == "layer" and isinstance(given, int) and given < 0):
            raise ValueError(f"{option} is {given!r}, but the encoder was loaded with {own[option]!r}.")
    return replace(config, **own)
