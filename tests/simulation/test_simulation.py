import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from hf_asd.data.dcase.attributes import load_attribute_truth
from hf_asd.data.dcase.ground_truth import load_ground_truth
from hf_asd.data.dcase.loading import load_dcase
from hf_asd.simulation.acoustics import background
from hf_asd.simulation.config import FactoryConfig
from hf_asd.simulation.machines import MACHINES
from hf_asd.simulation.machines.machine import Run
from hf_asd.simulation.recording import draw_clip, generator, record_clip
from hf_asd.simulation.sessions import draw_session
from hf_asd.simulation.signals import (
    RATE,
    impulses,
    padded_samples,
    passages,
    periodic,
    phased,
    shaft,
    shaped_noise,
    structure,
)
from hf_asd.simulation.writer import write_factory


SMALL = FactoryConfig(
    machines=("fan", "bearing", "valve", "slider"),
    num_source_train=4,
    num_target_train=2,
    num_test=2,
    clip_seconds=1.0,
    num_workers=2,
)
SNR_DB = (0.0, 9.0)


def contents(path):
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in files}


@pytest.fixture(scope="module")
def factory(tmp_path_factory):
    return write_factory(SMALL, tmp_path_factory.mktemp("factory") / "small")


def test_it_loads_as_dcase_2025(factory, tmp_path):
    dataset = load_dcase(factory, year=2025, cache_dir=tmp_path)
    assert {split: len(rows) for split, rows in dataset.items()} == {"train": 4 * 6, "test": 4 * 8}
    for split, domain, condition, count in (
        ("train", "source", "normal", 4),
        ("train", "target", "normal", 2),
        ("test", "source", "normal", 2),
        ("test", "source", "anomaly", 2),
        ("test", "target", "normal", 2),
        ("test", "target", "anomaly", 2),
    ):
        rows = [row for row in dataset[split] if (row["domain"], row["condition"]) == (domain, condition)]
        for machine in SMALL.machines:
            assert sum(row["machine"] == machine for row in rows) == count
    for row in dataset["train"]:
        told = {pair["key"]: pair["value"] for pair in row["attributes"]}
        if row["machine"] in SMALL.hidden:
            assert row["attribute_label"] is None and told == {}
        else:
            accepted = getattr(MACHINES[row["machine"]], row["domain"])
            assert told.keys() == accepted.keys() and all(told[key] in accepted[key] for key in told)


def test_recordings_are_16_bit_16_khz_mono_with_attributes_in_their_names(factory):
    files = sorted((factory / "fan" / "train").iterdir())
    info = soundfile.info(str(files[0]))
    assert (info.samplerate, info.channels, info.subtype, info.frames) == (16_000, 1, "PCM_16", 16_000)
    with open(factory / "fan" / "attributes_00.csv", newline="") as file:
        rows = {row["file_name"]: row for row in csv.DictReader(file)}
    assert len(rows) == 6 + 8
    for file in files:
        row = rows[file.name]
        assert file.stem.endswith(f"_{row['d1p']}_{row['d1v']}_{row['d2p']}_{row['d2v']}")


def test_hidden_attributes_are_in_the_ground_truth_alone(factory, tmp_path):
    assert SMALL.hidden == ("bearing", "slider")
    truth = load_attribute_truth(factory / "ground_truth")
    dataset = load_dcase(factory, year=2025, cache_dir=tmp_path)
    hidden = {row["clip_id"] for rows in dataset.values() for row in rows if row["machine"] in SMALL.hidden}
    assert truth.keys() == hidden
    assert all(truth[clip_id].keys() == MACHINES[clip_id.split("/")[0]].source.keys() for clip_id in hidden)
    for machine in SMALL.hidden:
        table = (factory / machine / "attributes_00.csv").read_text()
        assert not any(f"{key}_" in table or f",{key}," in table for key in MACHINES[machine].source)
        names = [file.stem for split in ("train", "test") for file in (factory / machine / split).iterdir()]
        assert len(names) == 14 and all(name.endswith("_noAttribute") for name in names)


def test_ground_truth_tells_conditions_and_faults(factory):
    truth = load_ground_truth(factory, 2025)
    assert len(truth) == 4 * 8
    for machine in SMALL.machines:
        with open(factory / "ground_truth" / f"{machine}_faults_00.csv", newline="") as file:
            rows = {(machine, row["file_name"]): row for row in csv.DictReader(file)}
        broken = {key for key, told in truth.items() if key[0] == machine and told["condition"] == "anomaly"}
        assert rows.keys() == broken and len(broken) == 4
        assert all(row["fault"] in MACHINES[machine].faults for row in rows.values())
        assert all(0 <= float(row["severity"]) <= 1 for row in rows.values())


def test_clips_depend_on_the_seed_and_on_nothing_else(factory, tmp_path):
    fewer = replace(SMALL, machines=("slider",), num_source_train=2, num_workers=1, hidden_machines=1)
    part = contents(write_factory(fewer, tmp_path / "part"))
    whole = contents(factory)
    recordings = [name for name in part if name.endswith(".wav")]
    assert len(recordings) == 4 + 8 and all(part[name] == whole[name] for name in recordings)
    other = contents(write_factory(replace(fewer, seed=1), tmp_path / "other"))
    assert not {part[name] for name in recordings} & set(other.values())


@pytest.mark.slow
def test_it_goes_on_where_it_was_killed(factory, tmp_path):
    path, config = tmp_path / "killed", replace(SMALL, machines=("fan",), num_source_train=300, hidden_machines=0)
    code = f"from hf_asd.simulation.writer import *; write_factory({config!r}, {str(path)!r})"
    process = subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"TQDM_DISABLE": "1"})
    train = path / "fan" / "train"
    while not (train.is_dir() and len(list(train.glob("section*.wav"))) > 20):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {file: file.stat().st_mtime_ns for file in train.glob("section*.wav")}
    assert 20 < len(kept) < 300
    with pytest.raises(FileNotFoundError, match="partly unpacked"):
        load_dcase(path, year=2025, cache_dir=tmp_path / "cache")

    names = sorted(kept)
    wanted = names[0].read_bytes()
    names[0].write_bytes(wanted[:1000])
    write_factory(config, path)
    assert names[0].read_bytes() == wanted
    assert all(file.stat().st_mtime_ns == kept[file] for file in names[1:])
    assert len(list(train.iterdir())) == 302
    shared = [file.relative_to(factory) for file in sorted((factory / "fan" / "test").iterdir())]
    assert all((path / file).read_bytes() == (factory / file).read_bytes() for file in shared)


def test_another_config_is_refused_and_more_workers_are_not(factory, tmp_path):
    with pytest.raises(ValueError, match=r"factory.json: is of another factory: num_test is 2, but 3 is wanted\."):
        write_factory(replace(SMALL, num_test=3), factory)
    assert write_factory(replace(SMALL, num_workers=1), factory) == factory
    assert "num_workers" not in json.loads((factory / "factory.json").read_text())
    (tmp_path / "letter.txt").write_text("something else")
    with pytest.raises(ValueError, match="is not empty and holds no simulated factory"):
        write_factory(SMALL, tmp_path)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"machines": ("fan", "lathe")}, "machines is 'lathe'; accepted are fan, pump"),
        ({"machines": ()}, "machines is"),
        ({"machines": ("fan", "fan")}, "each once"),
        ({"num_source_train": 0}, "num_source_train is 0; accepted are whole numbers from 1 to 10000"),
        ({"num_test": 20_000}, "num_test is 20000; accepted are whole numbers from 0 to 10000"),
        ({"clip_seconds": 0.1}, "clip_seconds is 0.1; accepted are numbers from 1 to 600"),
        ({"snr_db": (9, 0)}, r"snr_db is \[9, 0\]"),
        ({"hidden_machines": 7}, "hidden_machines is 7; accepted are 0 to 6"),
        ({"num_workers": 0}, "num_workers is 0"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        FactoryConfig(**options)


@pytest.mark.parametrize(
    "count, hidden", [(0, ""), (1, "slider"), (None, "pump bearing slider"), (6, " ".join(MACHINES))]
)
def test_hidden_machines_are_spread(count, hidden):
    assert FactoryConfig(hidden_machines=count).hidden == tuple(hidden.split())


def run_of(machine, samples, fault=None, severity=0.0, number=0):
    kind = MACHINES[machine]
    return Run(
        samples,
        {key: values[number % len(values)] for key, values in kind.source.items()},
        unit=generator(0, "unit", machine),
        rng=generator(number, "healthy", machine),
        fault_rng=generator(number, "fault", machine),
        fault=fault,
        severity=severity,
    )


@pytest.mark.parametrize("machine, fault", [(m.name, fault) for m in MACHINES.values() for fault in m.faults])
def test_every_fault_changes_the_sound_and_more_so_the_severer_it_is(machine, fault):
    samples = padded_samples(4.0)
    changes = []
    for severity in (0.1, 1.0):
        change = []
        for number in range(2):
            healthy = MACHINES[machine].sound(run_of(machine, samples, number=number))
            broken = MACHINES[machine].sound(run_of(machine, samples, fault, severity, number))
            change.append(np.sum((broken - healthy) ** 2) / np.sum(healthy**2))
        changes.append(10 * np.log10(np.mean(change)))
    assert changes[0] > -40 and changes[1] > -16
    assert changes[1] > changes[0] + 1


@pytest.mark.parametrize("machine", MACHINES)
def test_levels_are_sane_and_attributes_are_heard(machine):
    clips = [draw_clip(0, machine, "train", domain, "normal", i) for domain in ("source", "target") for i in range(6)]
    recordings = [record_clip(clip, 0, 2.0, SNR_DB) for clip in clips]
    for samples in recordings:
        assert samples.dtype == np.float32 and samples.shape == (32_000,)
        assert np.isfinite(samples).all() and np.abs(samples).max() <= 0.96
        assert -48 < 20 * np.log10(samples.std()) < -24
        assert abs(samples.mean()) < 1e-3
    assert len({tuple(clip.attributes.items()) for clip in clips}) > 2


def test_the_background_is_at_the_set_level():
    clip = draw_clip(0, "fan", "train", "source", "normal", 0)
    samples = padded_samples(2.0)
    hall = background(generator(0, "a"), generator(0, "b"), generator(0, "c"), samples)
    assert np.sqrt(np.mean(hall**2)) == pytest.approx(1, abs=1e-3)
    # A machine 60 dB above the hall is the same machine as one 50 dB above it.
    clean, nearly = (record_clip(clip, 0, 2.0, (level, level)) for level in (60.0, 50.0))
    loud = record_clip(clip, 0, 2.0, (0.0, 0.0))

    def apart(a, b):
        return 20 * np.log10(np.std(a - b) / np.std(b))

    assert apart(nearly, clean) < -40
    assert apart(loud, clean) > -6


def test_a_bearing_defect_shows_at_its_frequency_in_the_envelope():
    samples = padded_samples(8.0)
    run = run_of("bearing", samples, "outer_race", 1.0)
    balls = int(generator(0, "unit", "bearing").integers(7, 13))
    rng = generator(0, "unit", "bearing")
    rng.integers(7, 13)
    ratio = rng.uniform(0.18, 0.28)
    expected = float(run.attributes["vel"]) * balls * (1 - ratio) / 2

    def peak(sound):
        envelope = np.abs(sound - sound.mean()) ** 2
        spectrum = np.abs(np.fft.rfft(envelope - envelope.mean()))
        frequency = np.fft.rfftfreq(samples, 1 / RATE)
        near = np.abs(frequency / expected - 1) < 0.06
        around = (np.abs(frequency / expected - 1) < 0.3) & ~near
        return spectrum[near].max() / spectrum[around].max()

    assert peak(MACHINES["bearing"].sound(run)) > 3
    assert peak(MACHINES["bearing"].sound(run_of("bearing", samples))) < 2


def test_periodic_is_a_sum_of_cosines():
    rng, turns = np.random.default_rng(0), np.linspace(0, 7.3, 4000)
    amplitudes = phased(rng, [0.0, -6.0, -20.0], every=3)
    expected = sum(np.real(a * np.exp(2j * np.pi * k * turns)) for k, a in enumerate(amplitudes))
    np.testing.assert_allclose(periodic(turns, amplitudes), expected, atol=0.01)


def test_passages_keep_pace_with_the_shaft():
    rng = np.random.default_rng(0)
    turns = shaft(rng, padded_samples(10.0), 20.0)
    moments = passages(turns, 3.5, rng, slip=0.01)
    moments = moments[moments >= 0]
    assert len(moments) / (len(turns) / RATE) == pytest.approx(70, rel=0.02)
    assert np.diff(moments).mean() == pytest.approx(RATE / 70, rel=0.02)


def test_impulses_keep_fractions_and_drop_what_lies_outside():
    force = impulses(10, np.array([2.25, -1.0, 12.0]), np.array([4.0, 1.0, 1.0]))
    np.testing.assert_allclose(force[[2, 3]], [3.0, 1.0])
    assert force.sum() == 4


def test_noise_follows_its_gain_and_structures_ring_at_their_modes():
    samples, rng = padded_samples(4.0), np.random.default_rng(0)
    gain = np.zeros(samples // 2 + 1, dtype=np.float32)
    gain[1000:2000] = 1
    spectrum = np.abs(np.fft.rfft(shaped_noise(rng, samples, gain)))
    assert spectrum[1000:2000].mean() > 1e3 * np.delete(spectrum, slice(1000, 2000)).mean()
    response = np.abs(structure(np.random.default_rng(1), samples, 500, 4000, 5))
    frequency = np.fft.rfftfreq(samples, 1 / RATE)
    assert 400 < frequency[response.argmax()] < 4400
    assert response[frequency < 100].max() < 0.1 * response.max()


def test_a_session_is_the_same_all_day_and_another_the_next():
    first, again, second = (draw_session(3, "fan", number) for number in (0, 0, 1))
    assert (first.temperature, first.loads, first.others_run) == (again.temperature, again.loads, again.others_run)
    assert first.temperature != second.temperature and len(first.loads) == 8

    def level(session, clips=range(3)):
        """Mean spectrum of a silent machine's hall in dB."""
        sounds = [
            record_clip(
                draw_clip(3, "fan", "train", "source", "normal", n, session), 3, 1.0, SNR_DB, False, session=session
            )
            for n in clips
        ]
        return np.mean([20 * np.log10(np.abs(np.fft.rfft(sound)) + 1e-6) for sound in sounds], axis=0)

    assert not np.array_equal(level(first), level(second))
    units = {draw_clip(3, "fan", "train", "source", "normal", n, first).attributes["unit"] for n in range(9)}
    assert units == {"A"}  # an installation is one machine
    plain = draw_clip(3, "fan", "train", "source", "normal", 0)
    assert np.array_equal(record_clip(plain, 3, 1.0, SNR_DB), record_clip(plain, 3, 1.0, SNR_DB, session=None))
