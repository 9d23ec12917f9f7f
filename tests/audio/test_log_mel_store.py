import os
import threading

import numpy as np
import pytest
import soundfile
import torch

from hf_asd import (
    BeatsFeatureExtractor,
    EatConfig,
    EatFeatureExtractor,
    EatModel,
    SpectralStatistics,
    TransformerEncoder,
    embed,
    load_folder,
)
from hf_asd.audio.log_mel_store import open_log_mels, write_log_mels
from hf_asd.audio.reading import read_audio
from hf_asd.data.schema import undecoded_audio
from hf_asd.embedding import embed as embedding
from hf_asd.embedding.embed import get_embeddings
from hf_asd.threads import map_on_cores
from hf_asd.training.sampling import ClipCollator, CroppedClips, Draw


SHAPE = {"hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 8}


@pytest.fixture
def rows(tmp_path):
    rng = np.random.default_rng(0)
    for clip in range(6):
        samples = 0.1 * rng.standard_normal((16_000 + 80 * clip, 2)).cumsum(0) / 50
        soundfile.write(tmp_path / f"{clip}.wav", samples, 16_000)
    return load_folder(tmp_path)["train"]


def kept(rows, folder, gigabytes=1.0, channel=0):
    with write_log_mels(folder, EatFeatureExtractor(), channel, gigabytes) as writer:
        for audio in undecoded_audio(rows):
            writer.add(audio, read_audio(audio, channel=channel))
    return open_log_mels(folder)


def refuse(*_, **__):
    raise AssertionError("a recording was decoded")


@pytest.mark.parametrize("kind", ["band_statistics", "mean", "transformer", "transformer with statistics"])
def test_kept_log_energies_give_the_same_bits_and_nothing_is_decoded(rows, tmp_path, monkeypatch, kind):
    if kind.startswith("transformer"):
        extractor = EatFeatureExtractor(mean=[-1.0] * 128, std=[2.0] * 128)
        torch.manual_seed(0)
        encoder = TransformerEncoder(EatModel(EatConfig(**SHAPE)), extractor, with_statistics="with" in kind)
    else:
        encoder = SpectralStatistics(kind)
    expected = get_embeddings(embed(rows, encoder))
    store = kept(rows, tmp_path / "log_mel")
    monkeypatch.setattr(embedding, "read_windows", refuse)
    assert torch.equal(get_embeddings(embed(rows, encoder, log_mels=store)), expected)


def test_what_is_not_kept_is_decoded(rows, tmp_path):
    expected = get_embeddings(embed(rows, SpectralStatistics()))
    room_for_two = kept(rows, tmp_path / "two", 2.5 * 98 * 128 * 4 / 1e9)
    audios = undecoded_audio(rows)
    assert [room_for_two.get(audio, 0) is not None for audio in audios] == [True, True] + 4 * [False]
    assert torch.equal(get_embeddings(embed(rows, SpectralStatistics(), log_mels=room_for_two)), expected)
    assert kept(rows, tmp_path / "none", 0) is None

    # Another filter bank, another channel, a recording that has changed since.
    store = kept(rows, tmp_path / "all")
    assert store.fits(EatFeatureExtractor(mean=0.0)) and not store.fits(BeatsFeatureExtractor())
    assert store.get(audios[0], 1) is None and store.get(audios[0], 0) is not None
    os.utime(audios[0]["path"], (1, 1))
    assert store.get(audios[0], 0) is None
    other = kept(rows, tmp_path / "other", channel=1)
    assert other.get(audios[1], 1) is not None and not np.array_equal(other.get(audios[1], 1), store.get(audios[1], 0))


def test_crops_of_kept_log_energies_are_those_of_the_samples(rows, tmp_path):
    collate, store = ClipCollator(EatFeatureExtractor()), kept(rows, tmp_path / "log_mel")
    draws = [Draw(row, seed=row + 10, frames=48) for row in range(6)]
    batches = [
        collate([clips[draw] for draw in draws]) for clips in (CroppedClips(rows), CroppedClips(rows, 0, store))
    ]
    assert batches[0]["input_values"].shape == (6, 48, 128)
    torch.testing.assert_close(batches[0]["input_values"], batches[1]["input_values"], rtol=0, atol=1e-4)
    some = kept(rows.select(range(3)), tmp_path / "some")
    mixed = collate([CroppedClips(rows, 0, some)[draw] for draw in draws])
    torch.testing.assert_close(mixed["input_values"], batches[0]["input_values"], rtol=0, atol=1e-4)
    assert torch.equal(mixed["augmentation_seeds"], torch.arange(10, 16))


def test_an_interrupted_store_is_not_there(rows, tmp_path):
    with pytest.raises(KeyboardInterrupt), write_log_mels(tmp_path / "log_mel", EatFeatureExtractor(), 0, 1) as writer:
        writer.add(undecoded_audio(rows)[0], read_audio(undecoded_audio(rows)[0]))
        raise KeyboardInterrupt
    assert open_log_mels(tmp_path / "log_mel") is None


def test_threads_share_items_in_order_and_leave_the_settings(monkeypatch):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        names = set()

        def work(item):
            names.add(threading.current_thread().name)
            assert torch.get_num_threads() == 1
            return [item, map_on_cores(lambda inner: inner, [item])[0]]

        assert map_on_cores(work, range(20)) == [[item, item] for item in range(20)]
        assert len(names) <= 2 and torch.get_num_threads() == 2
        with pytest.raises(ZeroDivisionError):
            map_on_cores(lambda item: 1 / item, [1, 0])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
