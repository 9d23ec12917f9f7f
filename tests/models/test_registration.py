"""After `import hf_asd`, transformers loads this package's models, in whatever order modules are imported."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[2]
CHECK = """
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel
from transformers.pipelines import PIPELINE_REGISTRY

encoder = "hf_asd/models/bundled_encoder"
print(type(AutoModel.from_pretrained(encoder)).__module__)
print(type(AutoFeatureExtractor.from_pretrained(encoder)).__name__)
for model_type in ("eat", "beats", "attribute_classifier", "wav2vec2", "hubert", "audio-spectrogram-transformer"):
    print(type(AutoConfig.for_model(model_type)).__name__)
print("anomalous-sound-detection" in PIPELINE_REGISTRY.get_supported_tasks())
"""
EXPECTED = """\
hf_asd.models.eat.modeling_eat
EatFeatureExtractor
EatConfig
BeatsConfig
AttributeClassifierConfig
Wav2Vec2Config
HubertConfig
ASTConfig
True
"""
ORDERS = {
    "hf_asd first": "import hf_asd",
    "transformers first": "import transformers; import hf_asd",
    "an Auto class first": "from transformers import AutoModel; import hf_asd",
    "modeling_auto first": "import transformers.models.auto.modeling_auto; import hf_asd",
    "another model before and after": "from transformers import Wav2Vec2Model; import hf_asd\n"
    "from transformers import HubertModel",
    "pipelines between": "import transformers.pipelines; import hf_asd; from transformers import pipeline",
    "a model of this package first": "from hf_asd import EatModel, AttributeClassifier",
    "a configuration of this package first": "from hf_asd import AttributeClassifierConfig",
}


NO_MODEL = """\
import hf_asd, sys, transformers
transformers.AutoModel
print("hf_asd.models.eat.modeling_eat" in sys.modules)
"""
# What is common to all orders is imported once; each order then runs in a fork of that process, into which neither
# transformers nor this package has been imported, or transformers alone where an order begins with it.
IN_FORKS = """
import json, os, sys
import accelerate, datasets, sklearn.metrics, torch._dynamo, torch.distributed.tensor

programs = json.loads(sys.argv[1])
begins_with_package = {name: code.split()[1].startswith("hf_asd") for name, code in programs.items()}
for name in sorted(programs, key=begins_with_package.get, reverse=True):
    assert not {"transformers", "hf_asd"} & set(sys.modules) or not begins_with_package[name]
    if not begins_with_package[name]:
        import transformers
    child = os.fork()
    if not child:
        out = os.open(f"{sys.argv[2]}/{name}.txt", os.O_WRONLY | os.O_CREAT)
        os.dup2(out, 1)
        exec(programs[name], {})
        sys.stdout.flush()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, name
assert "hf_asd" not in sys.modules
"""


def run(code: str, *arguments: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_auto_classes_know_the_models_in_every_import_order(tmp_path):
    programs = {name: f"{order}\n{CHECK}" for name, order in ORDERS.items()}
    run(IN_FORKS, json.dumps(programs | {"no model": NO_MODEL}), str(tmp_path))
    assert {name: (tmp_path / f"{name}.txt").read_text() for name in ORDERS} == dict.fromkeys(ORDERS, EXPECTED)
    assert (tmp_path / "no model.txt").read_text() == "False\n", "importing transformers imports no model"


@pytest.mark.slow
def test_torch_may_be_imported_after_the_package():
    assert run(f"import hf_asd; import torch\n{CHECK}") == EXPECTED


def test_importing_the_package_imports_no_heavy_library():
    heavy = ("torch", "transformers", "datasets", "scipy", "sklearn", "numpy")
    code = f"import sys, hf_asd; print([name for name in {heavy!r} if name in sys.modules])"
    assert run(code) == "[]\n"


@pytest.mark.parametrize("module", ["training.config", "models.choices", "models.architectures"])
def test_modules_of_options_import_no_heavy_library(module):
    code = f"import sys, hf_asd.{module}; print([name for name in ('torch', 'transformers') if name in sys.modules])"
    assert run(code) == "[]\n"
