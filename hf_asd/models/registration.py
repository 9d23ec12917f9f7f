"""
Registers this package's models with `AutoConfig`, `AutoModel`, `AutoFeatureExtractor` and `pipeline`, without
importing them.

`import hf_asd` takes no time: a class is registered when the module of transformers that it belongs to is first
imported, and a model's code is imported when a model of its type is first loaded.
"""

import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder
from types import ModuleType

from .architectures import ARCHITECTURES, load_class


class LazyClasses(dict):
    """
    A dictionary whose values are imported when they are first read: configuration class -> (module, class name).

    transformers keeps registered classes in such a dictionary; it must not import a model's code while transformers
    itself is being imported.
    """

    def __getitem__(self, key):
        value = super().__getitem__(key)
        if isinstance(value, tuple):
            value = self[key] = load_class(*value)
        return value

    def values(self) -> Iterator:  # pyright: ignore[reportIncompatibleMethodOverride]
        return (self[key] for key in self)

    def items(self) -> Iterator:  # pyright: ignore[reportIncompatibleMethodOverride]
        return ((key, self[key]) for key in self)


class RegisterAfterImport(MetaPathFinder):
    """Registers classes right after the import of the module of transformers that they belong to."""

    def find_spec(self, fullname, path=None, target=None):
        register = REGISTER_AFTER.get(fullname)
        spec = PathFinder.find_spec(fullname, path) if register else None
        if register is None or spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_register(module: ModuleType):
            execute(module)
            register(module)

        spec.loader.exec_module = execute_and_register
        return spec


def register_configs(module: ModuleType) -> None:
    for architecture in ARCHITECTURES.values():
        # Its module registers it; one that is being imported, and imported transformers, does so at its end.
        if architecture.config is not None and f"hf_asd.{architecture.config[0]}" not in sys.modules:
            load_class(*architecture.config)


def register_classes(mapping: str, kind: str) -> Callable[[ModuleType], None]:
    """A function that adds this package's classes of one kind to a mapping of transformers."""

    def register(module: ModuleType) -> None:
        ours = {
            load_class(*architecture.config): getattr(architecture, kind)
            for architecture in ARCHITECTURES.values()
            if architecture.config is not None and getattr(architecture, kind) is not None
        }
        registered = getattr(module, mapping)
        registered._extra_content = LazyClasses({**registered._extra_content, **ours})

    return register


def register_pipeline(module: ModuleType) -> None:
    import_module("hf_asd.pipelines")  # registers itself


# Module of transformers -> what registers this package's classes there.
REGISTER_AFTER: dict[str, Callable[[ModuleType], None]] = {
    "transformers.models.auto.configuration_auto": register_configs,
    "transformers.models.auto.modeling_auto": register_classes("MODEL_MAPPING", "model"),
    "transformers.models.auto.feature_extraction_auto": register_classes(
        "FEATURE_EXTRACTOR_MAPPING", "feature_extractor"
    ),
    "transformers.pipelines": register_pipeline,
}


def register_all() -> None:
    """Registers with the modules that are imported already; the others follow when they are imported."""
    sys.meta_path.insert(0, RegisterAfterImport())
    for name, register in REGISTER_AFTER.items():
        if name in sys.modules:
            register(sys.modules[name])
