"""Recordings as recorders, phones and exports leave them: the whole sound, or an error that names the file."""

import io
import os
import shutil
import socket
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from recorders import (
    LIST,
    aiff,
    encode,
    flac_with_total,
    length_fields,
    mp3_without_count,
    ogg_of_two,
    pcm,
    rf64,
    sound,
    w64,
    wav,
    with_length,
    wrappings,
)

from hf_asd.audio import ffmpeg
from hf_asd.audio.errors import BadAudioError
from hf_asd.audio.formats import READABLE_SUFFIXES
from hf_asd.audio.reading import duration, read_audio, read_clip, read_sound
from hf_asd.audio.recording import open_recording
from hf_asd.audio.source import Source, Window
from hf_asd.data.checking import drop_bad_audio
from hf_asd.data.folder import load_folder
from hf_asd.embedding.embed import embed
from hf_asd.embedding.statistics import SpectralStatistics


RATE = 16_000
NAME = "pump 7.wav"
WRAPPINGS = wrappings()
# Of GSM 6.10 in AIFF a header may say any number of samples within the last block; zeros may be sound.
NO_LIES = {"AIFF GSM610", "WAV GSM610", "W64 GSM610", "WAV, zeros after"}
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="the program ffmpeg is not installed")


def without_bytes(value: object) -> str:
    """The name of a test's parameter."""
    return str(len(value)) if isinstance(value, bytes) else str(value)


def read(content: bytes, growing: bool = False, frames: int = 1 << 16, start: int = 0) -> np.ndarray:
    return read_with_note(content, growing, frames, start)[0]


def read_with_note(content: bytes, growing: bool = False, frames: int = 1 << 16, start: int = 0):
    with open_recording({"path": NAME, "bytes": content}, growing) as recording:
        blocks = list(recording.blocks(frames, start))
        assert all(len(block) == frames for block in blocks[:-1])
    return np.concatenate(blocks or [np.empty((0, recording.channels), np.float32)]), recording.note


def error_of(content: bytes) -> str:
    with pytest.raises(BadAudioError) as caught:
        read(content)
    assert str(caught.value).startswith(f"{NAME}: ")
    return str(caught.value)


# Any wrapping, whole, cut off or with a wrong length


def test_there_are_many_wrappings():
    assert len(WRAPPINGS) > 100


@pytest.mark.parametrize("name", WRAPPINGS)
def test_every_wrapping_gives_the_same_sound(name):
    wrapping = WRAPPINGS[name]
    samples, expected = read(wrapping.content), sound(wrapping.rate, wrapping.channels)
    assert samples.dtype == np.float32
    if wrapping.tolerance is not None:
        assert samples.shape == expected.shape
        assert np.abs(samples - expected).max() <= wrapping.tolerance
    else:  # codecs delay the sound, and fill up their last block
        assert len(expected) <= len(samples) < len(expected) + 3_000
        part = expected[: 3 * len(expected) // 4, 0]
        assert np.correlate(samples[:, 0], part, "valid").max() > 0.85 * np.square(part).sum()
    with open_recording({"path": NAME, "bytes": wrapping.content}) as recording:
        assert recording.seconds * wrapping.rate == len(samples)


@pytest.mark.slow
@given(name=st.sampled_from(sorted(WRAPPINGS)), part=st.floats(0, 1, exclude_max=True))
@example(name="FLAC, length halved", part=0.6846)  # behind the length in its header, between two frames
@settings(max_examples=400, deadline=None)
def test_a_cut_recording_is_refused_by_name(name, part):
    """Or it is the whole sound still, or, where nothing says its length, a recording that ends there."""
    wrapping = WRAPPINGS[name]
    whole = read(wrapping.content)
    try:
        samples = read(wrapping.content[: max(1, int(part * len(wrapping.content)))])
    except BadAudioError as error:
        assert str(error).startswith(f"{NAME}: ")
        return
    assert len(samples) == len(whole) or (wrapping.is_open and len(samples) < len(whole))
    np.testing.assert_allclose(samples, whole[: len(samples)], rtol=0, atol=1e-6)


@pytest.mark.slow
@given(
    name=st.sampled_from(sorted(name for name in WRAPPINGS if name not in NO_LIES)),
    length=st.one_of(
        st.integers(0, 100),
        st.integers(0, 1 << 16),
        st.integers(0, 1 << 64),
        st.sampled_from([0x7FFFF000, 0x7F000008, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, (1 << 64) - 1]),
    ),
    relative=st.booleans(),
    data=st.data(),
)
@settings(max_examples=400, deadline=None)
def test_a_wrong_length_changes_no_sample(name, length, relative, data):
    """The same samples or an error: of a length that is too large nothing tells that the rest is not missing."""
    content = WRAPPINGS[name].content
    fields = length_fields(content)
    assume(fields)
    field = data.draw(st.sampled_from(fields))
    true = int.from_bytes(content[field.place : field.place + field.width], field.order)
    length = true - 4 - length if relative else length
    assume(length < true - 3 or length > true + 3)  # less than the header of a chunk may be there to fill up
    whole = read(content)
    try:
        samples = read(with_length(content, field, length))
    except BadAudioError as error:
        assert str(error).startswith(f"{NAME}: ")
        return
    np.testing.assert_allclose(samples, whole, rtol=0, atol=1e-6)


@pytest.mark.slow
@given(name=st.sampled_from(sorted(WRAPPINGS)), frames=st.integers(100, 20_000), start=st.integers(0, 13_000))
@settings(max_examples=200, deadline=None)
def test_blocks_of_any_size_from_any_sample_on(name, frames, start):
    content = WRAPPINGS[name].content
    np.testing.assert_allclose(read(content, frames=frames, start=start), read(content)[start:], rtol=0, atol=1e-6)


# Lengths that are wrong: everything is read, and a note says what was found


EMPTY = "its header says that it is empty, as when a recorder loses its power; all 0.750 s that are there were read."


@pytest.mark.parametrize(
    ("content", "note"),
    [
        (wav(), None),
        (wav(riff_size=0x7FFFF024, data_size=0x7FFFF000), None),
        (wav(riff_size=0xFFFFFFFF, data_size=0xFFFFFFFF), None),
        (wav(riff_size=36, data_size=0), EMPTY),
        (wav(riff_size=0, data_size=0), EMPTY),
        (rf64(riff_size=0, data_size=0), EMPTY),
        (w64(0, 0), EMPTY),
        (aiff(0, 0, 0), EMPTY),
        (wav(riff_size=6436, data_size=6400), "its header says 0.200 s; all 0.750 s that are there were read."),
        (wav(data_size=6400, after=LIST), "its header says 0.200 s; all 0.750 s that are there were read."),
        (flac_with_total(0), None),
        (flac_with_total(6_000), "its header says 0.375 s; all 0.750 s that are there were read."),
        (flac_with_total(24_000), "its header says 1.500 s; all 0.750 s that are there were read."),
    ],
    ids=without_bytes,
)
def test_a_note_says_what_the_header_said(tmp_path, content, note):
    samples, found = read_with_note(content)
    np.testing.assert_array_equal(samples[:, 0], sound(channels=samples.shape[1])[:, 0])
    assert found == (None if note is None else f"{NAME}: {note}")
    (tmp_path / "clip.wav").write_bytes(content)
    clip = read_clip(tmp_path / "clip.wav")
    assert clip.seconds == duration(tmp_path / "clip.wav") == 0.75
    assert clip.notes == (() if note is None else (f"{tmp_path / 'clip.wav'}: {note}",))


def test_promised_lengths():
    promises = {
        wav(): 12_000,
        wav(data_size=0x7FFFF000): None,
        wav(data_size=0): None,
        wav(data_size=6400): 3_200,
        flac_with_total(0): None,
        flac_with_total((1 << 36) - 1): (1 << 36) - 1,
        encode("OGG", "VORBIS"): 12_000,
        encode("MP3", "MPEG_LAYER_III"): 12_000,
        mp3_without_count(): None,
    }
    for content, promised in promises.items():
        with open_recording(content) as recording:
            assert recording.promised_frames == promised
            assert (recording.sampling_rate, recording.channels) == (RATE, 1)


def test_a_note_is_shown_once_for_a_file(tmp_path, caplog):
    (tmp_path / "fan").mkdir()
    (tmp_path / "fan" / "0.wav").write_bytes(wav(riff_size=0, data_size=0))
    (tmp_path / "fan" / "1.wav").write_bytes(wav())
    rows = load_folder(tmp_path / "fan")
    embed(rows["train"], SpectralStatistics())
    drop_bad_audio(rows)
    shown = [record.getMessage() for record in caplog.records if "header" in record.getMessage()]
    assert shown == [f"{tmp_path / 'fan' / '0.wav'}: {EMPTY}"]


def test_an_mp3_of_variable_bit_rate_is_read_to_its_end():
    """Its decoder estimates the length from the first frames."""
    quiet_then_loud = np.concatenate([1e-4 * sound(seconds=4), sound(seconds=4)])
    file = io.BytesIO()
    soundfile.write(file, quiet_then_loud, RATE, format="MP3", bitrate_mode="VARIABLE", compression_level=0.2)
    whole = file.getvalue()
    kilobits = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)[whole[2] >> 4]
    samples = read(whole[72 * kilobits * 1000 // RATE :])
    assert 8 <= len(samples) / RATE < 8.3 and np.abs(samples[-2 * RATE :]).max() > 0.2


def test_two_ogg_streams_in_a_row_are_read_both():
    samples = read(ogg_of_two())
    np.testing.assert_array_equal(samples, np.tile(read(encode("OGG", "VORBIS")), (2, 1)))
    assert "parts have different" in error_of(encode("OGG", "VORBIS") + encode("OGG", "VORBIS", channels=2))


def test_an_mp3_beside_a_file_of_a_mac(tmp_path, monkeypatch):
    """libsndfile takes a file for Sound Designer II if the one with ._ before its name is there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.mp3").write_bytes(encode("MP3", "MPEG_LAYER_III"))
    for name in ("._x.mp3", "._"):
        (tmp_path / name).write_bytes(bytes(4096))
    assert read_clip("x.mp3").seconds == 0.75


# Cut off or damaged


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (wav()[:-2], "is cut off, 23998 of 24000 bytes of sound are there. Copy it again from the recorder."),
        (wav()[:44], "is cut off, its header is there and none of its sound"),
        (wav()[:15], "is cut off or damaged: its header has no chunk 'fmt'"),
        (wav()[:30], "is cut off or damaged: its header has no chunk 'data'"),
        (aiff()[:-2], "is cut off, 23998 of 24000 bytes"),
        (w64()[:-2], "is cut off, 23998 of 24000 bytes"),
        (rf64()[:-2], "is cut off, 23998 of 24000 bytes"),
        (encode("AU", "PCM_16")[:-2], "is cut off, 23998 of 24000 bytes"),
        (encode("CAF", "PCM_16")[:-2], "is cut off, 23998 of 24000 bytes"),
        (encode("FLAC", "PCM_16")[:-2], "is cut off, "),
        (encode("OGG", "VORBIS")[:-1], "is cut off, its last OGG page is not whole"),
        (encode("OGG", "OPUS")[:-1], "is cut off, its last OGG page is not whole"),
        (encode("MP3", "MPEG_LAYER_III")[:-1], "is cut off, "),
        (mp3_without_count()[:-1], "is cut off, its last MP3 frame is not whole"),
        (wav() + wav(), "a second recording begins at byte 24044; split the file in two."),
    ],
    ids=without_bytes,
)
def test_what_is_missing_is_named(content, words):
    assert words in error_of(content)


def test_a_page_that_is_missing_or_damaged_is_named():
    content = encode("OGG", "VORBIS")
    pages = [place for place in range(len(content)) if content[place : place + 4] == b"OggS"]
    assert "its last OGG page is missing" in error_of(content[: pages[-1]])
    assert "pages of the OGG stream are missing" in error_of(content[: pages[1]] + content[pages[2] :])
    damaged = bytearray(content)
    damaged[-40] ^= 1
    assert "the checksum of the OGG page" in error_of(bytes(damaged))


def test_a_damaged_flac_frame_is_named():
    damaged = bytearray(encode("FLAC", "PCM_16"))
    damaged[len(damaged) // 2] ^= 1
    assert "is cut off" in error_of(bytes(damaged)) or "is damaged" in error_of(bytes(damaged))


@pytest.mark.parametrize(
    ("format_chunk", "words"),
    [
        (struct.pack("<HHIIHH", 1, 1, 8, 16, 2, 16), "its header says 8 Hz"),
        (struct.pack("<HHIIHH", 1, 1, 20_000_000, 0, 2, 16), "its header says 20000000 Hz"),
        (struct.pack("<HHIIHH", 1, 0, RATE, 0, 2, 16), "cannot be read as audio"),
        (struct.pack("<HHIIHH", 1, 60_000, RATE, 0, 2, 16), "cannot be read as audio"),
        (struct.pack("<HHIIHH", 0x1234, 1, RATE, 0, 2, 16), "cannot be read as audio"),
    ],
    ids=without_bytes,
)
def test_an_impossible_header_is_named(format_chunk, words):
    content = wav()
    assert words in error_of(content[:20] + format_chunk + content[36:])


def test_an_offset_behind_the_end_is_no_sound():
    content = bytearray(aiff(0))
    content[46:50] = b"\xff\xff\xff\xff"
    with pytest.raises(BadAudioError, match="is empty, it holds no samples"):
        read_clip(bytes(content))


@pytest.mark.slow
def test_damaged_files_are_read_or_refused():
    script = Path(__file__).parents[2] / "benchmarks" / "fuzz.py"
    formats = ["wav", "flac", "ogg", "mp3", "aiff", "caf", "au", "w64", "nist"]
    command = [sys.executable, str(script), "--files", "400", "--formats", *formats]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.startswith("400 damaged files: ") and " 0 anything else; " in done.stdout, (
        done.stdout + done.stderr
    )


class LostDisk(io.BytesIO):
    """A share that goes away after some bytes."""

    def readinto(self, buffer):
        if self.tell() > 10_000:
            raise OSError(5, "Input/output error")
        return super().readinto(buffer)


def test_a_disk_that_fails_is_named(monkeypatch):
    content = wav()
    source = Source(NAME, LostDisk(content), len(content), None)
    monkeypatch.setattr("hf_asd.audio.recording.open_source", lambda audio, growing: source)
    with pytest.raises(BadAudioError, match="pump 7.wav: cannot be read from the disk: .*Input/output error"):
        with open_recording(NAME) as recording:
            list(recording.blocks(4096))
    window = Window(LostDisk(content), 9_000, 20_000, b"header")
    assert window.readinto(bytearray(50)) == 50 and window.problem is None


# Still being written


@pytest.mark.parametrize("container", ["WAV", "AU", "AIFF", "W64", "RF64", "FLAC", "OGG", "MP3"])
def test_of_a_growing_file_blocks_hold_what_is_there(container):
    subtype = {"OGG": "VORBIS", "MP3": "MPEG_LAYER_III"}.get(container, "PCM_16")
    whole = encode(container, subtype, seconds=20 if container == "OGG" else 2)
    expected, lengths = read(whole), []
    for size in range(len(whole) // 2, len(whole), len(whole) // 9):
        samples = read(whole[:size], growing=True, frames=1_000)
        np.testing.assert_allclose(samples, expected[: len(samples)], rtol=0, atol=1e-6)
        lengths.append(len(samples))
    assert lengths == sorted(lengths) and len(set(lengths)) > (1 if container in ("FLAC", "OGG") else 3)
    assert read_with_note(whole, growing=True)[1] is None


@pytest.mark.parametrize(
    "content", [wav(riff_size=36, data_size=0), wav(riff_size=0, data_size=0), flac_with_total(0)]
)
def test_a_growing_file_without_a_length(content):
    samples = read(content[: len(content) * 2 // 3], growing=True, frames=1_000, start=2_000)
    assert 0 < len(samples) < 10_000
    np.testing.assert_array_equal(samples, sound(channels=samples.shape[1])[2_000:][: len(samples)])
    assert read(content, growing=True, start=20_000).size == 0


# What is no recording


def test_what_is_no_file_is_named(tmp_path):
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "empty.wav").touch()
    (tmp_path / "notes.wav").write_text("these are notes, not a recording")
    (tmp_path / "zeros.wav").write_bytes(bytes(30_000))
    (tmp_path / "link.wav").symlink_to("gone.wav")
    os.mkfifo(tmp_path / "pipe.wav")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.wav"))
    expected = {
        "folder.wav": "it is a folder",
        "empty.wav": "the file has 0 bytes",
        "notes.wav": "it begins with b'these are notes,'",
        "zeros.wav": "it begins with zeros, so copying it failed",
        "link.wav": "the link leads to gone.wav, which is not there",
        "gone.wav": "there is no such file",
        "pipe.wav": "it is a named pipe",
        "socket.wav": "it is a device or socket",
        "nul\0.wav": "null",
        "x" * 300 + ".wav": "name too long",
    }
    for name, words in expected.items():
        with pytest.raises(BadAudioError) as caught:
            read_audio(str(tmp_path / name))
        text = str(caught.value)
        assert text.startswith(f"{tmp_path / name}: cannot be read as audio, ") and words in text.replace("N", "n"), (
            text
        )


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="the administrator may read every file")
def test_a_file_that_may_not_be_read(tmp_path):
    (tmp_path / "secret.wav").write_bytes(wav())
    (tmp_path / "secret.wav").chmod(0)
    with pytest.raises(BadAudioError, match="secret.wav: .*this user may not read it"):
        read_audio(tmp_path / "secret.wav")


def test_a_name_that_is_not_utf_8(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xe4.wav")
    with open(path, "wb") as file:
        file.write(wav(data_size=0))
    clip = read_clip(path)
    assert clip.seconds == 0.75
    clip.notes[0].encode("utf-8")


def test_samples_without_a_header(tmp_path):
    (tmp_path / "day 1.raw").write_bytes(pcm())
    with pytest.raises(BadAudioError) as caught:
        read_audio(tmp_path / "day 1.raw")
    assert "day 1.raw: holds samples without a header" in str(caught.value)
    assert f"ffmpeg -f s16le -ar 16000 -ac 1 -i '{tmp_path}/day 1.raw' '{tmp_path}/day 1.wav'" in str(caught.value)
    (tmp_path / "day 2.raw").write_bytes(wav())  # named so, and with a header
    assert read_clip(tmp_path / "day 2.raw").seconds == 0.75
    usable, skipped = drop_bad_audio(load_folder(tmp_path), "skip")
    assert len(usable["train"]) == len(skipped) == 1


# Levels


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (sound() * 2.0**15, "but full scale is 1; they seem to be integers of 16 bits, so divide them by 32768."),
        (sound() * 2.0**15 * 1.01, "they seem to be integers of 16 bits"),
        (np.round(sound() * 50), "they seem to be integers of 16 bits"),
        (sound() * 2.0**23, "they seem to be integers of 24 bits, so divide them by 8388608."),
        (sound() * 2.0**31, "they seem to be integers of 32 bits, so divide them by 2147483648."),
        (sound() * 1e30, "check what they were multiplied with"),
        (np.where(sound() > 0.2, np.nan, sound()), "samples that are NaN or infinite"),
        (np.where(sound() > 0.2, -np.inf, sound()), "samples that are NaN or infinite"),
    ],
)
def test_absurd_levels_are_refused(tmp_path, samples, words):
    soundfile.write(tmp_path / "x.wav", samples, RATE, subtype="FLOAT")
    with pytest.raises(BadAudioError) as caught:
        read_audio(tmp_path / "x.wav")
    assert str(caught.value).startswith(f"{tmp_path / 'x.wav'}: ") and words in str(caught.value)


def test_sound_above_full_scale_is_read(tmp_path):
    soundfile.write(tmp_path / "x.wav", 40 * sound(), RATE, subtype="FLOAT")
    np.testing.assert_array_equal(read_audio(tmp_path / "x.wav"), 40 * sound()[:, 0])


# What Python gives


def test_open_files_and_contents(tmp_path):
    (tmp_path / "x.wav").write_bytes(wav())
    expected = read_audio(tmp_path / "x.wav")
    memory = io.BytesIO()
    memory.write(wav())  # and its position is the end
    with open(tmp_path / "x.wav", "rb") as file:
        for given_form in (wav(), bytearray(wav()), memory, file, {"path": None, "bytes": wav()}):
            np.testing.assert_array_equal(read_sound(given_form).samples, expected)
    with pytest.raises(BadAudioError, match="recording in memory: .*0 bytes"):
        read_sound(b"")
    with pytest.raises(BadAudioError, match="recording in memory: has neither a path nor bytes"):
        read_sound({"path": None, "bytes": None})
    with open(tmp_path / "x.wav", encoding="latin-1") as file, pytest.raises(TypeError, match="open it as binary"):
        read_sound(file)


def test_samples_in_memory():
    torch = pytest.importorskip("torch")
    samples = sound()[:, 0]
    for given_form in (samples, samples.astype(np.float64), samples.tolist(), tuple(samples), torch.tensor(samples),
                       torch.tensor(samples, requires_grad=True)):  # fmt: skip
        np.testing.assert_array_equal(read_sound(given_form, RATE).samples, samples)
    integers = (samples * 2**15).astype(np.int16)
    for wrong, words in (
        (integers, "dtype int16; accepted are mono samples .* divided by 32768"),
        (torch.tensor(integers), "dtype int16"),
        (integers.tolist(), "dtype int64"),
        (np.stack([samples, samples]), r"shape \(2, 12000\).* Take one channel, such as samples\[0\]"),
        (np.stack([samples, samples], 1), r"shape \(12000, 2\).* Take one channel, such as samples\[:, 0\]"),
        ([[0.1, 0.2], [0.3]], "lists of different lengths"),
        (np.array(0.3), r"shape \(\)"),
        (["a", "b"], "dtype <U1"),
        ([], "is empty"),
        (torch.empty(0), "is empty"),
        (samples[:1000], "is too short, 0.062 s"),
        (np.where(samples > 0.2, np.nan, samples), "samples that are NaN"),
        (samples.astype(np.float64) * 1e300, "full scale is 1"),
    ):
        with pytest.raises(ValueError, match=words):
            read_sound(wrong, RATE)
    for rate, words in (
        (None, "sampling_rate is missing"),
        (0, "sampling_rate is 0; accepted"),
        (float("nan"), "nan"),
    ):
        with pytest.raises(ValueError, match=words):
            read_sound(samples, rate)
    for thing in (None, 0.5, object()):
        with pytest.raises(TypeError, match=f"a recording is given as {type(thing).__name__}; accepted are"):
            read_sound(thing, RATE)


# Memory


@pytest.mark.parametrize(
    "content", [flac_with_total((1 << 36) - 1), wav(data_size=0xFFFFFF00), encode("FLAC", "PCM_16")]
)
def test_no_memory_is_taken_for_promised_sound(content):
    tracemalloc.start()
    try:
        read(content, growing=True, frames=4096)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_an_hour_is_decoded_in_little_memory(tmp_path):
    size = 2 * RATE * 3600
    header = wav(samples=b"")[:40] + struct.pack("<I", size)
    with open(tmp_path / "hour.wav", "wb") as file:
        file.write(header)
        file.truncate(len(header) + size)  # takes no disk
    tracemalloc.start()
    try:
        with open_recording(tmp_path / "hour.wav") as recording:
            assert recording.seconds == 3600
            count = sum(1 for _ in recording.blocks(10 * RATE, start=3000 * RATE))
        assert count == 60 and tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


# Formats of phones, through ffmpeg


def convert(folder, name: str, *options: str) -> bytes:
    (folder / "given.wav").write_bytes(wav())
    command = ["ffmpeg", "-v", "error", "-y", "-i", str(folder / "given.wav"), *options, f"file:{folder / name}"]
    subprocess.run(command, check=True)
    return (folder / name).read_bytes()


@needs_ffmpeg
@pytest.mark.parametrize("name", ["-x.m4a", "it's 100%.aac", "x.wma", "x.3gp", "x.webm", "x.mka", "x.wv", "x.mp4"])
def test_formats_of_phones(tmp_path, monkeypatch, name):
    content = convert(tmp_path, name, *(("-c:a", "aac") if name == "x.3gp" else ()))
    monkeypatch.chdir(tmp_path)
    clip = read_clip(name)
    assert 0.7 < clip.seconds < 0.9 and 0.15 < np.abs(clip.samples).max() < 0.4
    np.testing.assert_array_equal(read_clip(content).samples, clip.samples)
    assert name[name.index(".") :] in READABLE_SUFFIXES
    cut = tmp_path / f"cut{name[name.index('.') :]}"
    cut.write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(BadAudioError) as caught:
        read_audio(cut)
    assert str(caught.value).startswith(f"{cut}: is cut off") and "\n" not in str(caught.value)


@needs_ffmpeg
def test_blocks_through_ffmpeg(tmp_path):
    convert(tmp_path, "x.m4a")
    with open_recording(tmp_path / "x.m4a") as recording:
        whole = np.concatenate(list(recording.blocks(1 << 16)))
        parts = list(recording.blocks(1_000, start=2_500))
        np.testing.assert_array_equal(np.concatenate(parts), whole[2_500:])
        assert recording.promised_frames is None and recording.seconds * RATE == len(whole)


@needs_ffmpeg
def test_what_ffmpeg_does_not_read(tmp_path):
    (tmp_path / "x.m4a").write_text("these are notes")
    with pytest.raises(
        BadAudioError, match="x.m4a: is cut off, damaged or no sound; ffmpeg says: moov atom not found"
    ):
        read_audio(tmp_path / "x.m4a")


def test_without_ffmpeg_its_command_is_shown(tmp_path, monkeypatch):
    (tmp_path / "new clip.m4a").write_bytes(b"\0\0\0\x20ftypM4A ")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadAudioError, match="not installed.*: ffmpeg -i 'new clip.m4a' 'new clip.wav'"):
        read_audio("new clip.m4a")


def test_ffmpeg_that_hangs_is_ended(tmp_path, monkeypatch):
    (tmp_path / "ffmpeg").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "ffmpeg").chmod(0o755)
    (tmp_path / "x.m4a").write_bytes(b"\0\0\0\x20ftypM4A ")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(ffmpeg, "SILENT_SECONDS", 0.2)
    with pytest.raises(BadAudioError, match="x.m4a: .*ffmpeg says: nothing for 0 s"):
        read_audio(tmp_path / "x.m4a")
