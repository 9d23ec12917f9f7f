"""
How long a clip takes with spectral statistics, beside the simplest recipe of librosa, in one run.

    python benchmarks/clip.py WORK

Each gets the same simulated recordings of 10 s as WAV files, learns from 20 and scores 40, with one thread, in a
process of its own, three times in turn. This package reads the file, computes filter bank, statistics and anomaly
score, p-value and decision. librosa reads the file and computes the mean of its log-mel spectrogram (its own default
settings), whose nearest neighbor scikit-learn looks for. Reasons and the checks of a recording are not part of it.
WORK keeps the recordings, and the environment of librosa, which this script makes from packages of PyPI. Printed are
medians of the processor time of a clip, and their ratio (target: 0.9 at most).
"""

import argparse
import json
import os
import statistics
import subprocess
from pathlib import Path

from peers import environment

from hf_asd.simulation.config import FactoryConfig
from hf_asd.simulation.writer import write_factory


ROOT = Path(__file__).parents[1]
LEARNED, REPEATS = 20, 3
OURS = """
import torch
from hf_asd import AnomalyDetector, load_folder
from hf_asd.audio.reading import read_audio
from hf_asd.detection.decision import make_decisions
def learn(files):
    detector = AnomalyDetector().fit(load_folder(files, machine="machine")["train"])
    bank = detector.machines["machine"]
    def score(file):
        embedding = detector.encoder([read_audio(file)])
        return make_decisions("machine", bank, torch.from_numpy(embedding), [None])
    return score
"""
LIBROSA = """
import librosa
import numpy as np
from sklearn.neighbors import NearestNeighbors
def features(file):
    samples, rate = librosa.load(file, sr=None)
    return librosa.power_to_db(librosa.feature.melspectrogram(y=samples, sr=rate)).mean(1)
def learn(files):
    neighbors = NearestNeighbors(n_neighbors=1).fit(np.stack([features(file) for file in files]))
    return lambda file: neighbors.kneighbors(features(file)[None])
"""
FRAME = """
import json, sys, time
files, learned = json.loads(sys.argv[1]), int(sys.argv[2])
{code}
score = learn(files[:learned])
score(files[0])
spent = []
for file in files[learned:]:
    start = time.process_time()
    score(file)
    spent.append(time.process_time() - start)
print("\\n" + json.dumps(spent))
"""


def seconds(python: Path, code: str, files: list[str], path: str) -> list[float]:
    """Processor time of each clip."""
    variables = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TQDM_DISABLE": "1", "PYTHONPATH": path}
    command = [python, "-W", "ignore", "-c", FRAME.format(code=code), json.dumps(files), str(LEARNED)]
    done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    args = parser.parse_args()
    config = FactoryConfig(machines=("fan",), num_source_train=50, num_target_train=10, num_test=1)
    files = sorted(map(str, write_factory(config, args.work / "factory").absolute().glob("fan/train/*.wav")))
    other = environment(args.work / "environments", ["librosa", "scikit-learn", "soundfile"])
    ours, librosa = [], []
    for _ in range(REPEATS):
        ours += seconds(environment(args.work, None), OURS, files, str(ROOT))
        librosa += seconds(other, LIBROSA, files, "")
    own, reference = statistics.median(ours), statistics.median(librosa)
    print(f"hf_asd {1000 * own:.1f} ms, librosa {1000 * reference:.1f} ms a clip: {own / reference:.2f}")


if __name__ == "__main__":
    main()
