import numpy as np
import pytest
import soundfile

from hf_asd.audio.reading import BadAudioError, read_audio
from hf_asd.data.checking import drop_bad_audio
from hf_asd.data.folder import load_folder


RATE = 16_000


def tone(seconds=1.0, rate=RATE, frequency=440.0):
    return 0.3 * np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_every_wav_format_reads_alike(tmp_path, subtype):
    soundfile.write(tmp_path / "clip.wav", tone(), RATE, subtype=subtype)
    samples = read_audio(tmp_path / "clip.wav")
    assert samples.dtype == np.float32 and samples.shape == (RATE,)
    np.testing.assert_allclose(samples, tone(), atol=1 / 100 if subtype == "PCM_U8" else 1e-4)


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
def test_other_rates_are_resampled(tmp_path, rate):
    soundfile.write(tmp_path / "clip.flac", tone(rate=rate), rate)
    samples = read_audio(tmp_path / "clip.flac")
    assert abs(len(samples) - RATE) <= 1
    middle = slice(2_000, 14_000)  # away from the filter's edges
    np.testing.assert_allclose(samples[middle], tone()[middle], atol=2e-3)


def test_channels(tmp_path):
    soundfile.write(tmp_path / "clip.wav", np.stack([tone(), np.zeros(RATE)], axis=1), RATE, subtype="FLOAT")
    np.testing.assert_allclose(read_audio(tmp_path / "clip.wav"), tone(), atol=1e-6)
    np.testing.assert_allclose(read_audio(tmp_path / "clip.wav", channel="mean"), tone() / 2, atol=1e-6)
    with pytest.raises(BadAudioError, match="silent"):
        read_audio(tmp_path / "clip.wav", channel=1)
    with pytest.raises(BadAudioError, match="has 2 channel.*asked for channel 2"):
        read_audio(tmp_path / "clip.wav", channel=2)


def test_bytes_in_a_row_are_read(tmp_path):
    soundfile.write(tmp_path / "clip.wav", tone(), RATE)
    row = {"path": "somewhere.wav", "bytes": (tmp_path / "clip.wav").read_bytes()}
    np.testing.assert_array_equal(read_audio(row), read_audio(tmp_path / "clip.wav"))


def write_bad_recordings(folder):
    """One file of each fault; returns what its message has to say."""
    soundfile.write(folder / "whole.wav", tone(), RATE, subtype="PCM_24")
    (folder / "truncated.wav").write_bytes((folder / "whole.wav").read_bytes()[:20_000])
    soundfile.write(folder / "whole.flac", tone(), RATE)
    (folder / "truncated.flac").write_bytes((folder / "whole.flac").read_bytes()[:9_000])
    (folder / "zero_bytes.wav").touch()
    soundfile.write(folder / "no_samples.wav", np.zeros(0), RATE)
    (folder / "text.wav").write_text("these are notes, not a recording")
    soundfile.write(folder / "silent.wav", np.zeros(RATE), RATE)
    soundfile.write(folder / "short.wav", tone(0.1), RATE)
    holed = tone()
    holed[7] = np.nan
    soundfile.write(folder / "holed.wav", holed, RATE, subtype="FLOAT")
    return {
        "truncated.wav": "is cut off, 19956 of 48000 bytes",
        "truncated.flac": "is cut off, ",
        "zero_bytes.wav": "0 bytes",
        "no_samples.wav": "is empty",
        "text.wav": "cannot be read as audio",
        "silent.wav": "is silent",
        "short.wav": "too short, 0.100 s",
        "holed.wav": "1 samples that are NaN",
    }


def test_one_error_names_every_bad_file(tmp_path):
    expected = write_bad_recordings(tmp_path)
    with pytest.raises(BadAudioError, match="8 of 10 recordings cannot be used") as caught:
        drop_bad_audio(load_folder(tmp_path))
    lines = str(caught.value).splitlines()
    for name, text in expected.items():
        assert any(name in line and text in line for line in lines), name
    assert "--on-bad-audio skip" in lines[-1]


def test_bad_files_can_be_skipped(tmp_path):
    expected = write_bad_recordings(tmp_path)
    dataset, skipped = drop_bad_audio(load_folder(tmp_path), "skip")
    assert len(dataset["train"]) == 2 and len(skipped) == len(expected)
    with pytest.raises(ValueError, match="'ignore'; accepted are error, skip"):
        drop_bad_audio(dataset, "ignore")


def test_a_streamed_wav_with_unknown_size_is_whole(tmp_path):
    soundfile.write(tmp_path / "clip.wav", tone(), RATE)
    content = bytearray((tmp_path / "clip.wav").read_bytes())
    content[40:44] = b"\xff\xff\xff\xff"
    (tmp_path / "clip.wav").write_bytes(content)
    assert len(read_audio(tmp_path / "clip.wav")) == RATE


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(BadAudioError, match="gone.wav: cannot be read as audio, there is no such file"):
        read_audio(tmp_path / "gone.wav")
