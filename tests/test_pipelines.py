"""The transformers pipeline against the detector it wraps."""

import http.server
import io
import threading

import numpy as np
import pytest
import soundfile
import torch
from transformers import pipeline

import hf_asd
from hf_asd import AnomalyDetector, load_folder
from hf_asd.audio.reading import BadAudioError


RATE = 16_000
TASK = "anomalous-sound-detection"


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("clips")
    for machine, seconds in (("fan", 1.0), ("pump", 0.7)):
        (folder / machine).mkdir()
        for clip in range(5):
            soundfile.write(folder / machine / f"{clip}.wav", 0.1 * rng.standard_normal(int(RATE * seconds)), RATE)
    return folder


@pytest.fixture(scope="module")
def detector(clips):
    return AnomalyDetector().fit(load_folder(clips))


@pytest.fixture(scope="module")
def listen(detector):
    return pipeline(TASK, model=detector)


@pytest.mark.slow
def test_a_model_by_folder_and_by_id(hub, detector, clips, tmp_path):
    folder, file = detector.save_pretrained(tmp_path / "detector"), str(clips / "fan" / "0.wav")
    expected = detector(file, machine="fan").to_dict()
    assert pipeline(TASK, model=str(folder))(file, machine="fan") == expected
    detector.push_to_hub("me/asd")
    hub.repo("me/asd").tags["v1"] = hub.repo("me/asd").branches["main"]
    AnomalyDetector().fit(load_folder(clips / "fan")).push_to_hub("me/asd")
    assert pipeline(TASK, model="me/asd", revision="v1")(file, machine="fan") == expected
    one = pipeline(TASK, model="me/asd", device="cpu")
    assert list(one.model.machines) == ["fan"] and one(file).keys() == expected.keys()
    assert repr(one) == "AnomalousSoundDetectionPipeline: fan on cpu"
    assert type(one) is hf_asd.AnomalousSoundDetectionPipeline


def test_every_kind_of_input_gives_the_same(listen, detector, clips):
    path = clips / "pump" / "1.wav"
    samples, rate = soundfile.read(path, dtype="float32")
    expected = detector(path, machine="pump").to_dict()
    for given in (
        str(path),
        path,
        path.read_bytes(),
        {"array": samples, "sampling_rate": rate},
        {"raw": samples.tolist(), "sampling_rate": rate},
        {"path": str(path), "bytes": None},
        {"bytes": path.read_bytes(), "path": None},
        io.BytesIO(path.read_bytes()),
    ):
        assert listen(given, machine="pump") == expected
        if not isinstance(given, dict):
            assert detector(given, machine="pump").to_dict() == expected
    for given in (samples, torch.tensor(samples)):
        assert listen(given, sampling_rate=rate, machine="pump") == expected
    for given in (samples, torch.tensor(samples), samples.tolist()):
        assert detector(given, rate, "pump").to_dict() == expected
    assert listen({"path": str(path), "machine": "pump"}) == expected
    resampled = listen(np.repeat(samples, 2).astype(np.float64), sampling_rate=2 * rate, machine="pump")
    assert resampled["nearest_clip_id"] == expected["nearest_clip_id"]


def test_silence_is_no_decision_and_reasons_are_given_when_asked(listen, detector, clips):
    loud = 5 * soundfile.read(clips / "fan" / "0.wav", dtype="float32")[0]
    clips = [{"array": samples, "sampling_rate": RATE} for samples in (loud, np.zeros(RATE, dtype=np.float32))]
    told = listen(clips, machine="fan", explain=True, batch_size=2)
    assert told == [detector(clip["array"], RATE, "fan", explain=True).to_dict() for clip in clips]
    assert told[0]["abstain_reason"] is None and told[0]["is_anomaly"] and told[0]["reasons"]
    assert told[1]["abstain_reason"].startswith("silent") and told[1]["is_anomaly"] is None
    assert listen(clips[0], machine="fan")["reasons"] is None


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_batches_of_clips_of_any_length_and_machine(listen, detector, clips, batch_size):
    rows = [{"path": str(clips / name / f"{i}.wav"), "machine": name} for i in range(5) for name in ("fan", "pump")]
    expected = [detector(row["path"], machine=row["machine"]).to_dict() for row in rows]
    assert listen(rows, batch_size=batch_size) == expected
    assert list(listen((row for row in rows), batch_size=batch_size)) == expected
    dataset = load_folder(clips)["train"]
    expected = [detector(row["audio"]["path"], machine=row["machine"]).to_dict() for row in dataset]
    assert list(listen(dataset, batch_size=batch_size)) == expected
    assert list(listen(dataset.select(range(5))["audio"], machine="fan", batch_size=batch_size)) == expected[:5]


def test_addresses_are_fetched_only_when_asked(listen, detector, clips):
    class Files(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(clips))

        def log_message(self, *_):
            asked.append(self.path)

    asked = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/fan/0.wav"
    with pytest.raises(ValueError, match="nothing is fetched without being asked"):
        listen(address, machine="fan")
    for given in ({"path": address, "machine": "fan"}, address.replace("http", "HTTP")):
        with pytest.raises(ValueError, match="nothing is fetched without being asked"):
            listen(given, machine="fan")
    assert asked == []
    assert (
        listen(address, machine="fan", allow_urls=True) == detector(clips / "fan" / "0.wav", machine="fan").to_dict()
    )
    server.shutdown()
    server.server_close()


def test_refusals(listen, clips, hub):
    file = str(clips / "fan" / "0.wav")
    with pytest.raises(ValueError, match="machine is None; this detector knows fan, pump"):
        listen(file)
    with pytest.raises(ValueError, match="sampling_rate is missing"):
        listen(np.zeros(RATE, dtype=np.float32), machine="fan")
    with pytest.raises(ValueError, match=r"shape \(16000, 2\).*accepted are mono samples"):
        listen(np.zeros((RATE, 2)), sampling_rate=RATE, machine="fan")
    with pytest.raises(ValueError, match="dtype int16"):
        listen(np.zeros(RATE, dtype=np.int16), sampling_rate=RATE, machine="fan")
    for samples, words in (
        (np.full(RATE, np.nan), "holds 16000 samples that are NaN"),
        (np.zeros(0), "is empty"),
        (np.zeros(100), "is too short, 0.006 s"),
    ):
        with pytest.raises(BadAudioError, match=f"the array: {words}"):
            listen(samples, sampling_rate=RATE, machine="fan")
    for given, kind in (([0.1, 0.2], "float"), ({"machine": "fan"}, "NoneType")):
        with pytest.raises(TypeError, match=f"a recording is given as {kind}; accepted are"):
            listen(given, sampling_rate=RATE, machine="fan")
    with pytest.raises(BadAudioError, match="no such file"):
        listen("gone.wav", machine="fan")
    with pytest.raises(BadAudioError, match="cannot be read as audio"):
        listen(b"no audio", machine="fan")
    with pytest.raises(OSError, match="me/nothing"):
        pipeline(TASK, model="me/nothing")
