import json
import math
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file
from trainings import FINETUNE, PRETRAIN, TINY, assert_same_bits, stop_at, twelve_clips, weights  # noqa: F401

from hf_asd import EatFeatureExtractor, FinetuneConfig, PretrainConfig, finetune, load_folder, pretrain
from hf_asd.audio.reading import read_audio
from hf_asd.files import whole_folder
from hf_asd.training.augmentation import AugmentingCollator, mix_background, random_eq, random_gain, spec_augment
from hf_asd.training.finetuning import attribute_classes
from hf_asd.training.pretraining import MIN_STD, PretrainingCollator, band_statistics
from hf_asd.training.trainer import SeededTrainer, TrainingError, training_arguments


CONTRAST = {"contrast_weight": 1.0, "noise_probability": 0.8, "eq_db": 3.0, "gain_db": 1.5}


@pytest.fixture
def varied_clips(tmp_path):
    """Tones of 32 machines over noise."""
    rng = np.random.default_rng(0)
    (tmp_path / "varied").mkdir()
    time = np.arange(24_000) / 16_000
    for clip in range(32):
        tones = sum(np.sin(2 * np.pi * rng.uniform(100, 7_000) * time + rng.uniform(0, 6)) for _ in range(4))
        beat = 1 + 0.9 * np.sin(2 * np.pi * rng.uniform(1, 8) * time)
        samples = 0.05 * beat * tones + 0.01 * rng.normal(size=24_000)
        soundfile.write(tmp_path / "varied" / f"{clip}.wav", samples, 16_000)
    return load_folder(tmp_path / "varied")["train"]


@pytest.mark.slow
def test_stopped_and_resumed_training_ends_with_the_same_bits(clips, tmp_path, monkeypatch):
    whole = pretrain(clips, PretrainConfig(**PRETRAIN), tmp_path / "whole")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_at(patch, 5)
        pretrain(clips, PretrainConfig(**PRETRAIN), tmp_path / "stopped")
    resumed = pretrain(clips, PretrainConfig(**PRETRAIN), tmp_path / "stopped")
    assert_same_bits(whole, resumed)

    whole_classifier = finetune(clips, whole, FinetuneConfig(**FINETUNE), tmp_path / "whole-classifier")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_at(patch, 3)
        finetune(clips, whole, FinetuneConfig(**FINETUNE), tmp_path / "stopped-classifier")
    resumed = finetune(clips, whole, FinetuneConfig(**FINETUNE), tmp_path / "stopped-classifier")
    assert_same_bits(whole_classifier, resumed)

    config = json.loads((resumed / "config.json").read_text())
    assert list(config["label2id"]) == ["fan: folder=high", "fan: folder=low", "pump: folder=high", "pump: folder=low"]


@pytest.mark.slow
def test_a_kill_in_the_middle_of_saving_leaves_no_half_checkpoint(clips, tmp_path, monkeypatch):
    folder, config = tmp_path / "killed", PretrainConfig(**PRETRAIN)

    def kill(self, output_dir):
        if self.state.global_step == 4:
            raise KeyboardInterrupt
        save(self, output_dir)

    save = SeededTrainer._save_rng_state
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(SeededTrainer, "_save_rng_state", kill)
        pretrain(clips, config, folder)
    assert sorted(path.name for path in folder.glob("checkpoint-*")) == ["checkpoint-2"]
    assert (folder / "checkpoint.partial" / "checkpoint-4" / "model.safetensors").exists()
    assert_same_bits(pretrain(clips, config, folder), pretrain(clips, config, tmp_path / "whole"))
    assert sorted(path.name for path in folder.glob("checkpoint*")) == ["checkpoint-4", "checkpoint-6"]


@pytest.mark.slow
def test_the_seed_decides(clips, tmp_path):
    encoders = [
        pretrain(clips, PretrainConfig(**PRETRAIN, seed=seed), tmp_path / name)
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    assert_same_bits(encoders[0], encoders[1])
    a, c = weights(encoders[0]), weights(encoders[2])
    assert not torch.equal(a["embeddings.patch_embedding.weight"], c["embeddings.patch_embedding.weight"])


@pytest.mark.slow
def test_pretraining_goes_on_from_an_encoder(clips, tmp_path):
    first = pretrain(clips, PretrainConfig(**PRETRAIN), tmp_path / "first")
    options = {name: value for name, value in PRETRAIN.items() if name != "model"} | {"learning_rate": 1e-12}
    second = pretrain(clips, PretrainConfig(encoder=str(first), **options), tmp_path / "second")
    a, b = weights(first), weights(second)
    torch.testing.assert_close(a["layers.0.mlp.fc1.weight"], b["layers.0.mlp.fc1.weight"], rtol=0, atol=1e-9)
    with pytest.raises(ValueError, match="has its own shape"):
        PretrainConfig(encoder=str(first), model=TINY)


def test_training_that_cannot_work_says_why(clips, tmp_path):
    with pytest.raises(ValueError, match="fewer than one batch"):
        pretrain(clips.select(range(2)), PretrainConfig(**PRETRAIN), tmp_path / "few")
    with pytest.raises(ValueError, match="a single class, 'fan: folder=low'"):
        low = clips.filter(lambda row: row["machine"] == "fan" and row["attribute_label"] == "folder=low")
        finetune(low, tmp_path, FinetuneConfig(**FINETUNE | {"batch_size": 2}), tmp_path / "one")


@pytest.mark.slow
def test_a_collapsed_teacher_stops_the_run_and_a_healthy_one_does_not(varied_clips, tmp_path):
    small = TINY | {"num_hidden_layers": 2, "decoder_layers": 1, "initial_weights": "normal"}
    shared = PRETRAIN | {"model": small, "batch_size": 8}
    shared |= {"learning_rate": 0.04, "warmup": 20, "max_steps": 160, "save_steps": 1000}
    shared |= {"utterance_reduction": "sum"}
    shared |= {"training": {"logging_steps": 5, "disable_tqdm": True, "lr_scheduler_type": "constant_with_warmup"}}
    config = PretrainConfig(**shared, ema_decay_start=0.0, ema_decay_end=0.0)
    with pytest.raises(TrainingError, match=r"The teacher has collapsed by step \d+: .* Lower learning_rate"):
        pretrain(varied_clips, config, tmp_path / "collapsed")
    shared |= {"learning_rate": 0.02}
    config = PretrainConfig(**shared, ema_decay_start=0.99, ema_decay_end=0.99)
    assert pretrain(varied_clips, config, tmp_path / "healthy").is_dir()
    state = json.loads((tmp_path / "healthy" / "checkpoint-160" / "trainer_state.json").read_text())
    last = [line for line in state["log_history"] if "output_spread" in line][-1]
    assert last["step"] == 160 and last["output_spread"] > 0.3 and last["effective_rank"] > 3
    assert last["agreement"] > 0.2 and 0.8 < last["target_variance"] < 1.2


def test_a_loss_that_is_no_number_stops_the_run(clips, tmp_path):
    options = PRETRAIN | {"learning_rate": 1e30, "warmup": 0.0, "training": {"max_grad_norm": 1e30}}
    with pytest.raises(TrainingError, match="The loss is nan at step"):
        pretrain(clips, PretrainConfig(**options), tmp_path / "run")


def test_classes_are_keyed_by_machine_and_need_attributes(clips):
    named = attribute_classes(clips)
    assert len(set(named)) == 4 and named[0] == "fan: folder=high"
    hidden = clips.map(lambda row: {"attribute_label": None if row["machine"] == "pump" else row["attribute_label"]})
    with pytest.raises(ValueError, match=r"neither attributes nor pseudo-attributes: pump \(6 clips\)"):
        attribute_classes(hidden)
    clustered = hidden.add_column(
        "pseudo_attribute", [None if machine == "fan" else "cluster=1" for machine in hidden["machine"]]
    )
    assert set(attribute_classes(clustered)) == {"fan: folder=high", "fan: folder=low", "pump: cluster=1"}


def test_spec_augment_hides_one_stretch_of_time_and_one_of_bands():
    values = torch.randn(200, 40, 32, generator=torch.Generator().manual_seed(0))
    hidden = spec_augment(values, 10, 8, torch.Generator().manual_seed(0)) != values
    times, bands = hidden.all(2).sum(1), hidden.all(1).sum(1)
    assert times.max() == 10 and bands.max() == 8
    rectangle = times[:, None] * 32 + bands[:, None] * 40 - times[:, None] * bands[:, None]
    assert torch.equal(hidden.sum((1, 2)), rectangle[:, 0])
    assert torch.equal(spec_augment(values, 0, 0, torch.Generator().manual_seed(0)), values)


def test_a_random_gain_is_the_gain_of_the_waveform():
    extractor = EatFeatureExtractor()
    clip = 0.1 * torch.randn(16_000, generator=torch.Generator().manual_seed(0))
    quiet, loud = (extractor.log_mel(clip[None] * factor)[0] for factor in (1, 2))
    share = 2 * torch.rand((), generator=torch.Generator().manual_seed(3)).item() - 1
    largest = 20 * math.log10(2) / share
    gained = quiet + random_gain(largest, [torch.Generator().manual_seed(3)])[0]
    heard = quiet > quiet.min()  # one band is narrower than a bin and stays at the floor
    torch.testing.assert_close(gained[heard], loud[heard], rtol=0, atol=1e-4)


def test_noise_is_added_at_its_level():
    rng = torch.Generator().manual_seed(0)
    clip, noise = torch.randn(2, 40, 128, generator=rng).unbind()
    # How loud the noise was does not matter.
    heard = mix_background(clip[None], noise[None] + 7, torch.tensor([6.0]))[0].double().exp()
    added = heard - clip.double().exp()
    assert 10 * torch.log10(clip.double().exp().sum() / added.sum()) == pytest.approx(6, abs=1e-3)
    expected = noise.double().exp() / noise.double().exp().sum()
    torch.testing.assert_close(added / added.sum(), expected, rtol=1e-3, atol=1e-8)


def test_a_color_lifts_bands_smoothly_and_all_frames_alike():
    lifts = random_eq(128, 3.0, [torch.Generator().manual_seed(seed) for seed in range(300)])
    assert lifts.shape == (300, 1, 128)
    decibels = lifts[:, 0] * 10 / math.log(10)
    assert decibels[:, 0].std() == pytest.approx(3, rel=0.15) and decibels.mean().abs() < 0.3
    assert decibels.diff(dim=1).abs().max() < 0.1 * decibels.abs().max()


def test_band_statistics_are_those_of_all_frames(varied_clips):
    extractor = EatFeatureExtractor(do_normalize=False)
    log_mel = extractor([read_audio(audio) for audio in varied_clips["audio"]], 16_000, return_tensors="pt")
    frames = log_mel["input_values"][:, :148].flatten(0, 1)  # 148 frames, and what fills them up
    mean, std = band_statistics(varied_clips)
    np.testing.assert_allclose(mean, frames.mean(0), atol=1e-4)
    np.testing.assert_allclose(std, frames.std(0, correction=0).clamp_min(MIN_STD), atol=1e-4)
    assert min(std) == MIN_STD  # of a band that is narrower than a bin

    normalized = EatFeatureExtractor(mean=mean, std=std)([read_audio(varied_clips[0]["audio"])], 16_000, "pt")
    expected = (log_mel["input_values"][0] - torch.tensor(mean)) / (2 * torch.tensor(std))
    torch.testing.assert_close(normalized["input_values"][0], expected, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_a_student_in_noise_learns_and_resumes_to_the_same_bits(clips, tmp_path, monkeypatch):
    config = PretrainConfig(**PRETRAIN | CONTRAST)
    whole = pretrain(clips, config, tmp_path / "whole")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_at(patch, 5)
        pretrain(clips, config, tmp_path / "stopped")
    assert_same_bits(whole, pretrain(clips, config, tmp_path / "stopped"))
    extractor = EatFeatureExtractor.from_pretrained(whole)
    assert [extractor.mean, extractor.std] == list(band_statistics(clips))

    # An encoder to go on with keeps its extractor, and needs no contrast.
    options = {name: value for name, value in PRETRAIN.items() if name != "model"} | {"encoder": str(whole)}
    for name, more in (("contrast", CONTRAST), ("plain", {})):
        second = pretrain(clips, PretrainConfig(**options, **more), tmp_path / name)
        assert EatFeatureExtractor.from_pretrained(second).mean == extractor.mean
        saved = load_file(tmp_path / name / "checkpoint-6" / "model.safetensors")
        assert any(key.startswith("projector.") for key in saved) == (name == "contrast")


def test_the_student_hears_noise_and_the_teacher_does_not(clips):
    extractor = EatFeatureExtractor()
    samples = [
        {"samples": read_audio(row["audio"])[:8_400], "augmentation_seeds": seed} for seed, row in enumerate(clips)
    ]
    plain = PretrainingCollator(extractor, PretrainConfig())(samples)
    assert "student_values" not in plain
    batch = PretrainingCollator(extractor, PretrainConfig(noise_probability=0.5, snr_db=[0.0, 0.0]))(samples)
    torch.testing.assert_close(batch["input_values"], plain["input_values"], rtol=0, atol=0)
    changed = ~torch.isclose(batch["student_values"], batch["input_values"], atol=1e-3).all(2).all(1)
    assert 0 < changed.sum() < len(changed)
    clip = int(changed.nonzero()[0])
    log_mel, heard = (2 * extractor.std * batch[name] + extractor.mean for name in ("input_values", "student_values"))
    expected = mix_background(log_mel[[clip]], log_mel[[clip ^ 1]], torch.zeros(1))[0]
    torch.testing.assert_close(heard[clip], expected, rtol=0, atol=1e-4)
    # Fine-tuning hears the same, and nothing of the kind by default.
    quiet = {"time_mask": 0, "frequency_mask": 0}
    config = FinetuneConfig(noise_probability=0.5, snr_db=[0.0, 0.0], **quiet)
    heard = AugmentingCollator(extractor, config, 1)(samples)
    torch.testing.assert_close(heard["input_values"], batch["student_values"], rtol=0, atol=1e-5)
    heard = AugmentingCollator(extractor, FinetuneConfig(**quiet), 1)(samples)
    torch.testing.assert_close(heard["input_values"], plain["input_values"], rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="noise_probability is 2"):
        FinetuneConfig(noise_probability=2)
    for options, message in (
        ({"noise_probability": 2}, "noise_probability is 2"),
        ({"snr_db": [3.0, 1.0]}, "snr_db is"),
        ({"input_statistics": "x"}, "accepted are bands, audioset"),
    ):
        with pytest.raises(ValueError, match=message):
            PretrainConfig(**options)


def test_unknown_training_options_are_refused(tmp_path):
    with pytest.raises(
        ValueError, match="training.gradient_acumulation_steps .* did you mean gradient_accumulation_steps"
    ):
        training_arguments(tmp_path, PretrainConfig(training={"gradient_acumulation_steps": 2}))
    assert training_arguments(tmp_path, PretrainConfig(training={"save_steps": 7}, save_steps=3)).save_steps == 7
    assert training_arguments(tmp_path, FinetuneConfig(save_steps=3), max_grad_norm=4.0).max_grad_norm == 4.0


def test_an_interrupted_export_leaves_no_partial_folder(tmp_path):
    with pytest.raises(OSError, match="disk full"), whole_folder(tmp_path / "model") as partial:
        (partial / "a").write_text("a")
        raise OSError("disk full")
    assert not (tmp_path / "model").exists()
    with whole_folder(tmp_path / "model") as partial:
        (partial / "b").write_text("b")
    assert [file.name for file in (tmp_path / "model").iterdir()] == ["b"]


def kill_when(command, condition, environment):
    """Runs a command and kills it as soon as the condition holds."""
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        for _ in range(2_000):
            if condition() or process.poll() is not None:
                break
            time.sleep(0.02)
        assert process.stdout is not None
        assert process.poll() is None, process.stdout.read().decode()
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.slow
def test_a_killed_process_resumes_to_the_same_bits(clips, tmp_path):
    config = PRETRAIN | {"max_steps": 80}
    script = (
        "from hf_asd import *\n"
        f"clips = load_folder({str(tmp_path / 'clips')!r})['train']\n"
        f"pretrain(clips, PretrainConfig(**{config!r}), {str(tmp_path / 'killed')!r})\n"
    )
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    command = [sys.executable, "-c", script]
    kill_when(command, lambda: (tmp_path / "killed" / "checkpoint-10" / "trainer_state.json").exists(), environment)
    assert not (tmp_path / "killed" / "encoder").exists()
    resumed = pretrain(clips, PretrainConfig(**config), tmp_path / "killed")
    assert_same_bits(pretrain(clips, PretrainConfig(**config), tmp_path / "whole"), resumed)
