"""
Decides about recordings with detector.onnx and detector.json beside this file. Needs numpy, soundfile and onnxruntime.

    python score.py RECORDING [RECORDING ...]

Prints a line of JSON for each recording; the exit code is 2 if one of them could not be used, else 0.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import soundfile


FOLDER = Path(__file__).resolve().parent


class Detector:
    """Called with a recording, it returns a dictionary; see docs/edge.md of hf_asd."""

    def __init__(self, folder=FOLDER):
        try:
            self.about = json.loads((folder / "detector.json").read_bytes())
        except ValueError as error:
            raise ValueError(f"{folder}: detector.json is damaged ({error}); copy the whole bundle again.") from error
        model = (folder / "detector.onnx").read_bytes()
        if hashlib.sha256(model).hexdigest() != self.about["model"]["sha256"]:
            raise ValueError(f"{folder}: detector.onnx does not belong to detector.json; copy the whole bundle again.")
        try:
            self.session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        except Exception as error:  # its errors have no common class
            raise ValueError(f"onnxruntime {onnxruntime.__version__} is too old; install 1.20 or newer.") from error
        self.tail = {name: np.array(value) for name, value in self.about["score_tail"].items()}

    def __call__(self, path):
        rows, starts = [], []
        for samples, start in self.windows(path):
            outputs = self.session.run(None, {"waveform": samples[None]})
            rows.append(
                {
                    meta.name: np.asarray(value)[0]
                    for meta, value in zip(self.session.get_outputs(), outputs, strict=True)
                }
            )
            starts.append(start)
        usable = [int(row["no_decision"]) == 0 for row in rows]
        among = [number for number in range(len(rows)) if usable[number] or not any(usable)]
        worst = max(among, key=lambda number: rows[number]["anomaly_score"])
        score, p_value, row = rows[worst]["anomaly_score"], rows[worst]["p_value"], rows[worst]
        if starts[0] is not None:
            score, p_value = self.of_windows(np.array([rows[number]["anomaly_score"] for number in among]))
        words = "ANOMALY" if score > self.about["threshold"] else "normal"
        result = {
            "file": str(path),
            "decision": words if any(usable) else "no decision",
            "anomaly_score": float(score),
        }
        result |= {"threshold": self.about["threshold"], "p_value": float(p_value), "reason": None}
        result["is_unusual"] = bool(any(usable) and self.about["unusual_threshold"] < score <= self.about["threshold"])
        if not any(usable):
            result["reason"] = self.about["no_decision_reasons"][int(row["no_decision"]) - 1]
        if starts[0] is not None:
            result |= {"windows": len(rows), "unfit_windows": len(rows) - sum(usable), "worst_start_s": starts[worst]}
        if "band_deviations" in row:
            result["band_deviations"] = [round(float(value), 2) for value in row["band_deviations"]]
        return result

    def windows(self, path):
        """Samples of a recording, or of its windows if it has at least twice their length, and where they start."""
        try:
            with open(path, "rb") as content, soundfile.SoundFile(content) as file:
                rate, count, channel = self.about["sampling_rate"], file.frames, self.about["channel"]
                if file.samplerate != rate:
                    raise ValueError(f"{path}: has {file.samplerate} Hz; resample it to {rate} Hz first.")
                if channel >= file.channels:
                    raise ValueError(f"{path}: has {file.channels} channel(s); the detector needs channel {channel}.")
                seconds = self.about["window_seconds"] or np.inf
                is_long = count >= 2 * seconds * rate
                size = round(seconds * rate) if is_long else count
                for start in [*range(0, count - size, size), count - size] if is_long else [0]:
                    file.seek(start)
                    samples = file.read(size, dtype="float32", always_2d=True)[:, channel]
                    self.check(path, samples, rate)
                    yield np.ascontiguousarray(samples), start / rate if is_long else None
        except soundfile.LibsndfileError as error:
            raise ValueError(
                f"{path}: cannot be read ({error.error_string}); give a WAV, FLAC or OGG file that plays."
            ) from error

    def check(self, path, samples, rate):
        """Refuses samples that the detector was not made for."""
        if len(samples) < 0.5 * rate:
            raise ValueError(f"{path}: is {len(samples) / rate:.3f} s long; at least 0.5 s are needed.")
        if len(samples) > self.about["max_seconds"] * rate:
            raise ValueError(f"{path}: is longer than {self.about['max_seconds']} s; cut it into shorter recordings.")
        peak = np.abs(samples).max()
        if not peak <= 100 or (peak >= 2 and np.array_equal(samples, np.round(samples))):
            raise ValueError(
                f"{path}: its samples reach {peak:.4g}, but full scale is 1; divide integers by their range."
            )

    def of_windows(self, scores):
        """Score and p-value of a recording from the scores of its windows; corrected for their number (Simes 1986)."""
        normal, logs, start, count, scale = (self.tail[name] for name in ("scores", "logs", "start", "count", "scale"))
        tail = logs[-1] - count * np.log1p(np.maximum(scores - start, 0) / (count * scale))
        p_values = np.sort(np.exp(np.where(scores > start, tail, np.interp(scores, normal, logs))))
        log = np.log(min(1, (p_values * len(scores) / np.arange(1, len(scores) + 1)).min()))
        if log >= logs[-1]:
            return np.interp(-log, -logs, normal), np.exp(log)
        return start + count * scale * np.expm1((logs[-1] - log) / count), np.exp(log)


def main(paths):
    """Prints decisions; an error is a line that names the file and what to do."""
    code = 0
    try:
        detector = Detector()
    except (OSError, ValueError) as error:
        print(f"score.py: {error}", file=sys.stderr)
        return 2
    for path in paths:
        try:
            print(json.dumps(detector(path)), flush=True)
        except (OSError, ValueError) as error:
            print(f"score.py: {error}", file=sys.stderr)
            code = 2
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]) if len(sys.argv) > 1 else print(__doc__))
