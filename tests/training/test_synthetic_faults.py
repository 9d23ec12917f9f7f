from typing import get_args

import numpy as np
import pytest
import torch
from trainings import FINETUNE, assert_same_bits, stop_at, tiny_encoder, twelve_clips  # noqa: F401
from transformers import AutoModel

from hf_asd import EatFeatureExtractor, FinetuneConfig, finetune
from hf_asd.audio.reading import read_audio
from hf_asd.training.augmentation import AugmentingCollator, draw_faults, mix_background
from hf_asd.training.config import FaultName
from hf_asd.training.synthetic_faults import SYNTHETIC_FAULTS, add_fault


FRAMES, BANDS = 400, 128
OPTIONS = FINETUNE | {"time_mask": 8, "frequency_mask": 8, "training": {"disable_tqdm": True}}


@pytest.fixture
def log_mel():
    """Steady noise that falls towards high bands."""
    noise = torch.randn(FRAMES, BANDS, generator=torch.Generator().manual_seed(0))
    return 0.3 * noise - torch.arange(BANDS) / 20


def changes(log_mel, fault, seeds=40):
    """Change of the energy in dB by a fault, for several seeds: `(seeds, frames, bands)`."""
    changed = [add_fault(log_mel, fault, torch.Generator().manual_seed(seed)) for seed in range(seeds)]
    return 10 / np.log(10) * (torch.stack(changed) - log_mel)


def test_every_fault_of_the_help_has_a_function():
    assert tuple(SYNTHETIC_FAULTS) == get_args(FaultName)


@pytest.mark.parametrize("fault", SYNTHETIC_FAULTS)
def test_a_fault_is_drawn_by_its_seed_and_is_there_at_any_level_and_length(fault, log_mel):
    change = changes(log_mel, fault)
    assert torch.equal(change, changes(log_mel, fault)) and change.isfinite().all()
    # Always a change, different every time, and limited.
    assert (change.abs().amax((1, 2)) > 0.5).all() and change.abs().mean((1, 2)).std() > 0.05
    assert change.max() < 40
    torch.testing.assert_close(changes(log_mel + 20, fault), change, atol=1e-3, rtol=0)
    for short in (1, 16):
        assert add_fault(log_mel[:short], fault, torch.Generator().manual_seed(0)).shape == (short, BANDS)


def test_every_fault_does_what_its_name_says(log_mel):
    knocks, tones, noise, swell, loss = (changes(log_mel, fault) for fault in SYNTHETIC_FAULTS)
    for added in (knocks, tones, noise):
        assert added.min() > -1e-3
    assert loss.max() < 1e-3
    # Knocks come and go: in its strongest band the median frame has far less than the loudest.
    strongest = torch.stack([clip[:, clip.amax(0).argmax()] for clip in knocks])
    assert (strongest.amax(1) - strongest.median(1).values).median() > 5
    # Tones are narrow lines that stay, noise and loss wide and steady.
    over_time = tones.mean(1)
    assert ((over_time > over_time.amax(1, keepdim=True) / 2).sum(1) <= 10).all()
    assert (tones.std(1).amax(1) < tones.mean(1).amax(1)).float().mean() > 0.9
    for steady in (noise, loss):
        wide = steady.mean(1).abs()
        assert ((wide > wide.amax(1, keepdim=True) / 2).sum(1) > 5).all()
    # A swell goes up and down around where the band was, in energy: twice its amplitude at most.
    assert swell.max() > 3 and swell.min() < -6


def test_a_share_of_the_clips_gets_faults_of_all_kinds():
    faults = draw_faults(torch.arange(4000), 0.4)
    counts = np.bincount(faults + 1, minlength=len(SYNTHETIC_FAULTS) + 1) / 4000
    assert counts[0] == pytest.approx(0.6, abs=0.03) and counts[1:] == pytest.approx(0.08, abs=0.02)
    assert (draw_faults(torch.arange(100), 0.0) == -1).all()


def test_a_faulty_clip_has_its_label_and_a_normal_background(clips):
    extractor = EatFeatureExtractor()
    samples = [
        {"samples": read_audio(row["audio"])[:8_400], "augmentation_seeds": seed, "label": 0}
        for seed, row in enumerate(clips)
    ]
    quiet = {"time_mask": 0, "frequency_mask": 0}
    plain = AugmentingCollator(extractor, FinetuneConfig(**quiet), 3)(samples)
    batch = AugmentingCollator(extractor, FinetuneConfig(fault_probability=0.5, **quiet), 3)(samples)
    faults = draw_faults(batch["augmentation_seeds"], 0.5)
    assert 0 < (faults >= 0).sum() < len(faults)
    assert torch.equal(batch["labels"], torch.where(faults < 0, 0, 3 + faults))
    same = torch.isclose(batch["input_values"], plain["input_values"], atol=1e-5).all(2).all(1)
    assert torch.equal(same, faults < 0)
    options = {"fault_probability": 0.5, "noise_probability": 1.0, "snr_db": [0.0, 0.0]}
    noisy = AugmentingCollator(extractor, FinetuneConfig(**options, **quiet), 3)(samples)
    before, own, mixed = (
        2 * extractor.std * values["input_values"] + extractor.mean for values in (plain, batch, noisy)
    )
    for clip in range(len(samples)):
        expected = mix_background(own[[clip]], before[[clip ^ 1]], torch.zeros(1))[0]
        torch.testing.assert_close(mixed[clip], expected, atol=1e-3, rtol=0)


@pytest.mark.slow
def test_a_machine_of_one_class_learns_synthetic_faults_and_resumes_to_the_same_bits(clips, tmp_path, monkeypatch):
    encoder = tiny_encoder(tmp_path / "encoder")
    fan = [row for row, machine in enumerate(clips["machine"]) if machine == "fan"]
    alone = clips.select(fan).remove_columns("attribute_label").add_column("attribute_label", ["any"] * len(fan))
    with pytest.raises(ValueError, match="there is a single class, 'fan: any'.*finetune.fault_probability"):
        finetune(alone, encoder, FinetuneConfig(**OPTIONS), tmp_path / "nothing")
    config = FinetuneConfig(**OPTIONS | {"fault_probability": 0.5, "mixup": 0.5})
    whole = finetune(alone, encoder, config, tmp_path / "whole")
    names = AutoModel.from_pretrained(whole).config.id2label
    assert names == dict(enumerate(["fan: any", *(f"synthetic fault: {fault}" for fault in SYNTHETIC_FAULTS)]))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_at(patch, 3)
        finetune(alone, encoder, config, tmp_path / "stopped")
    assert_same_bits(whole, finetune(alone, encoder, config, tmp_path / "stopped"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fault_probability": 1.0}, "fault_probability is 1.0; accepted are numbers from 0 below 1"),
        (
            {
                "fault_probability": 0.5,
                "num_trainable_layers": 0,
                "projection_size": 8,
                "embedding_from": "projection",
            },
            "fault_probability needs at least one trainable layer",
        ),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        FinetuneConfig(**options)
