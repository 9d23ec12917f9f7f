"""
Makes `AutoConfig`, `AutoModel`, `AutoFeatureExtractor` and `pipeline` know this package's models, without importing them.

`import hf_asd` takes no time: what belongs to a module of transformers is registered when that module is first
imported, and a model's code is imported when a model of its kind is first loaded.
"""

import sys
from collections.abc import Callable
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder
from types import ModuleType


# Model type -> the module that registers its configuration when it is imported, and its classes.
MODELS = {
    "eat": {
        "config": ("models.eat.configuration_eat", "EatConfig"),
        "model": ("models.eat.modeling_eat", "EatModel"),
        "feature_extractor": ("models.eat.feature_extraction_eat", "EatFeatureExtractor"),
    },
    "beats": {
        "config": ("models.beats.configuration_beats", "BeatsConfig"),
        "model": ("models.beats.modeling_beats", "BeatsModel"),
        "feature_extractor": ("models.beats.feature_extraction_beats", "BeatsFeatureExtractor"),
    },
    "attribute_classifier": {
        "config": (
            "models.attribute_classifier.configuration_attribute_classifier",
            "AttributeClassifierConfig",
        ),
        "model": ("models.attribute_classifier.modeling_attribute_classifier", "AttributeClassifier"),
    },
}


class LazyClasses(dict):
    """
    A dictionary whose values are imported when they are asked for: configuration class -> (module, class name).

    transformers keeps registered classes in such a dictionary; it must not import a model's code while transformers
    itself is being imported.
    """

    def __getitem__(self, key):
        value = super().__getitem__(key)
        if isinstance(value, tuple):
            value = self[key] = load(*value)
        return value

    def values(self):
        return [self[key] for key in self]

    def items(self):
        return [(key, self[key]) for key in self]


class RegisterAfterImport(MetaPathFinder):
    """Finds the modules of transformers that wait for a registration, and registers after their import."""

    def find_spec(self, fullname, path=None, target=None):
        register = WAITING.get(fullname)
        spec = PathFinder.find_spec(fullname, path) if register else None
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_register(module: ModuleType):
            execute(module)
            register(module)

        spec.loader.exec_module = execute_and_register
        return spec


def load(module: str, name: str):
    """A class of this package by its module below `hf_asd` and its name."""
    return getattr(import_module(f"{__package__}.{module}"), name)


def register_configs(module: ModuleType) -> None:
    for classes in MODELS.values():
        import_module(f"{__package__}.{classes['config'][0]}")  # registers itself


def register_classes(mapping: str, kind: str) -> Callable[[ModuleType], None]:
    """A function that adds the classes of one kind to a mapping of transformers."""

    def register(module: ModuleType) -> None:
        ours = {load(*classes["config"]): classes[kind] for classes in MODELS.values() if kind in classes}
        registered = getattr(module, mapping)
        registered._extra_content = LazyClasses({**registered._extra_content, **ours})

    return register


def register_pipeline(module: ModuleType) -> None:
    import_module(f"{__package__}.pipelines")  # registers itself


WAITING: dict[str, Callable[[ModuleType], None]] = {
    "transformers.models.auto.configuration_auto": register_configs,
    "transformers.models.auto.modeling_auto": register_classes("MODEL_MAPPING", "model"),
    "transformers.models.auto.feature_extraction_auto": register_classes(
        "FEATURE_EXTRACTOR_MAPPING", "feature_extractor"
    ),
    "transformers.pipelines": register_pipeline,
}


def register_all() -> None:
    """Registers with what is imported already, and waits for the rest."""
    sys.meta_path.insert(0, RegisterAfterImport())
    for name, register in WAITING.items():
        if name in sys.modules:
            register(sys.modules[name])
