"""After `import hf_asd`, transformers loads this package's models, in whatever order modules are imported."""

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
    "torch after": "import hf_asd; import torch",
}


def run(code: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.slow
def test_auto_classes_know_the_models_in_every_import_order(order):
    assert run(f"{ORDERS[order]}\n{CHECK}") == EXPECTED


def test_importing_the_package_imports_no_heavy_library():
    heavy = ("torch", "transformers", "datasets", "scipy", "sklearn", "numpy")
    code = f"import sys, hf_asd; print([name for name in {heavy!r} if name in sys.modules])"
    assert run(code) == "[]\n"


@pytest.mark.parametrize("module", ["training.config", "models.choices", "models.architectures"])
def test_modules_of_options_import_no_heavy_library(module):
    code = f"import sys, hf_asd.{module}; print([name for name in ('torch', 'transformers') if name in sys.modules])"
    assert run(code) == "[]\n"


@pytest.mark.slow
def test_importing_transformers_imports_no_model_of_this_package():
    module = "hf_asd.models.eat.modeling_eat"
    code = f"import sys, hf_asd, transformers; transformers.AutoModel; print({module!r} in sys.modules)"
    assert run(code) == "False\n"
