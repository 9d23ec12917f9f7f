"""
The rules of the house (CONTRIBUTING.md) that a program can check. Everything is read from the source; nothing of the
package is imported, except by the test of the imports at the start.
"""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "hf_asd"
CHANGELOG = ROOT / "CHANGELOG.md"
# From top to bottom; a room imports only from rooms below it. Names in one line may import each other.
LAYERS = [
    ("__init__", "__main__", "pipelines"),
    ("cli",),
    ("app",),
    ("recipe",),
    ("reporting",),
    ("export",),
    ("shards",),
    ("detection",),
    ("plotting",),
    ("training",),
    ("clustering",),
    ("hub",),
    ("evaluation",),
    ("metrics",),
    ("embedding",),
    ("models",),
    ("simulation",),
    ("data",),
    ("audio",),
    ("distributed", "files", "folders", "hub_errors", "options", "threads", "version"),
]
FLOOR = {room: number for number, rooms in enumerate(LAYERS) for room in rooms}
# Packages whose `__init__` is more than a docstring.
SPEAKING_PACKAGES = {
    "hf_asd",
    "hf_asd.cli",
    "hf_asd.detection.backends",
    "hf_asd.metrics",
    "hf_asd.models.bundled_encoder",
    "hf_asd.simulation.machines",
}
MAX_LINES = 80
HEAVY = ("torch", "transformers", "datasets", "sklearn", "scipy.signal", "matplotlib", "accelerate", "evaluate")
BRITISH = re.compile(
    r"neighbour|colour|favour|behaviour|honour|labour|\bcentre|\bmetres?\b|licence|labelled|labelling|modelled|"
    r"modelling|travelled|cancelling|signall|catalogue|programme\b|artefact|\bgrey|whilst|fulfil\b|"
    r"judgement|analys(?:e|ed|ing)\b|(?:normal|standard|summar|organ|recogn|initial|serial|util|minim|maxim|optim|"
    r"random|quant|synchron|visual|general|special|regular|central|token|character|penal|real|emphas)is(?:e|ed|es|er|"
    r"ing|ation)\b",
    re.IGNORECASE,
)


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


# Goes into bundles, where it runs without the package.
BUNDLE_SCRIPT = PACKAGE / "export" / "bundle" / "score.py"
SOURCES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py")) if path != BUNDLE_SCRIPT}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in SOURCES.items()}


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def import_nodes(node: ast.AST, with_types: bool):
    """The imports below a node, those inside functions too; `if TYPE_CHECKING` blocks only where asked for."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif not with_types and is_type_checking(child):
            for statement in child.orelse:
                yield from import_nodes(statement, with_types)
        else:
            yield from import_nodes(child, with_types)


def imported_modules(module: str, with_types: bool) -> dict[str, int]:
    """The modules of this package that a module imports -> line."""
    found = {}
    for node in import_nodes(TREES[module], with_types):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            package = module if SOURCES[module].name == "__init__.py" else module.rpartition(".")[0]
            for _ in range(node.level - 1):
                package = package.rpartition(".")[0]
            base = ".".join(part for part in (package if node.level else "", node.module) if part)
            names = [f"{base}.{alias.name}" if f"{base}.{alias.name}" in SOURCES else base for alias in node.names]
        for name in names:
            if name in SOURCES and name != module:
                found.setdefault(name, node.lineno)
    return found


def offenders(title: str, lines: list[str]) -> str:
    return f"{title} ({len(lines)}):\n" + "\n".join(sorted(lines))


def where(module: str, line: int) -> str:
    return f"{SOURCES[module].relative_to(ROOT)}:{line}"


def test_every_room_has_its_place_in_the_order():
    rooms = {room(module) for module in SOURCES}
    assert rooms == set(FLOOR), rooms ^ set(FLOOR)


def test_imports_point_down():
    upward = [
        f"{where(module, line)}: {module} imports {imported}"
        for module in SOURCES
        for imported, line in imported_modules(module, with_types=True).items()
        if room(imported) != room(module) and FLOOR[room(imported)] < FLOOR[room(module)]
    ]
    assert not upward, offenders("imports that point up", upward)


def test_there_are_no_circular_imports():
    graph = {module: sorted(imported_modules(module, with_types=False)) for module in SOURCES}
    state, path, circles = {}, [], []

    def visit(module: str):
        state[module] = "open"
        path.append(module)
        for imported in graph[module]:
            if state.get(imported) == "open":
                circles.append(" -> ".join([*path[path.index(imported) :], imported]))
            elif imported not in state:
                visit(imported)
        path.pop()
        state[module] = "done"

    for module in SOURCES:
        if module not in state:
            visit(module)
    assert not circles, offenders("circular imports", circles)


def test_functions_are_short():
    long = [
        f"{where(module, node.lineno)}: {node.name} has {length} lines"
        for module, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := node.end_lineno - node.lineno + 1) > MAX_LINES
    ]
    assert not long, offenders(f"functions over {MAX_LINES} lines", long)


def docstrings(tree: ast.Module) -> set[int]:
    """The docstrings, by the identity of their nodes."""
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    bodies = [node.body for node in ast.walk(tree) if isinstance(node, kinds) and node.body]
    return {id(body[0].value) for body in bodies if isinstance(body[0], ast.Expr)}


def test_files_are_written_whole_in_one_place():
    # A download goes on where it stopped, so that it keeps a partial file on purpose.
    allowed = {"hf_asd.files", "hf_asd.folders", "hf_asd.data.dcase.download"}
    # All processes of a training write one checkpoint; an interrupted factory is recognized by its leftovers.
    allowed |= {"hf_asd.training.trainer", "hf_asd.simulation.writer"}
    own = []
    for module in set(SOURCES) - allowed:
        prose = docstrings(TREES[module])
        own += [
            f"{where(module, node.lineno)}: {node.value!r}"
            for node in ast.walk(TREES[module])
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose
            if ".partial" in node.value
        ]
    assert not own, offenders("partial files outside hf_asd/files.py", own)


def test_recordings_are_decoded_in_one_place():
    """Elsewhere the length in a header would be believed."""
    allowed = {"hf_asd.audio.decoder", "hf_asd.audio.pipes.flac"}
    reading = {"SoundFile", "read", "info", "blocks"}
    others = [
        where(module, node.lineno)
        for module in set(SOURCES) - allowed
        for node in ast.walk(TREES[module])
        if isinstance(node, ast.Attribute) and node.attr in reading
        if isinstance(node.value, ast.Name) and node.value.id in ("soundfile", "sf")
    ]
    others += [
        where(module, node.lineno)
        for module in SOURCES
        for node in import_nodes(TREES[module], with_types=False)
        if isinstance(node, ast.ImportFrom)
        and node.module == "soundfile"
        or {"librosa", "torchaudio", "torchcodec", "audioread"} & {alias.name for alias in node.names}
    ]
    assert not others, offenders("recordings that are opened outside hf_asd/audio/recording.py", others)


def test_only_the_command_line_prints():
    prints = [
        where(module, node.lineno)
        for module, tree in TREES.items()
        if room(module) != "cli"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not prints, offenders("print outside hf_asd/cli; take logging", prints)


def test_packages_hold_a_docstring_only():
    more = [
        where(module, 1)
        for module, path in SOURCES.items()
        if path.name == "__init__.py" and module not in SPEAKING_PACKAGES
        if any(not isinstance(node, ast.Expr) for node in TREES[module].body)
    ]
    assert not more, offenders("packages whose __init__ is more than a docstring", more)


def test_american_spelling():
    endings = {".py", ".md", ".yaml", ".yml", ".cfg", ".toml", ".html", ".cff", ".ipynb"}
    rooms = ("hf_asd", "tests", "benchmarks", "examples", "recipes", ".github")
    files = [path for path in ROOT.iterdir() if path.suffix in endings or path.name == "Makefile"]
    files += [path for room in rooms for path in (ROOT / room).rglob("*") if path.suffix in endings]
    # This file holds the words, and the changelog lists old names of options.
    texts = {path: path.read_text(encoding="utf-8") for path in files if path not in (Path(__file__), CHANGELOG)}
    british = [
        f"{path.relative_to(ROOT)}:{text[: word.start()].count(chr(10)) + 1}: {word.group()}"
        for path, text in texts.items()
        for word in BRITISH.finditer(text)
    ]
    assert not british, offenders("British spelling", british)


@pytest.mark.parametrize("kind", ["config", "cli"])
def test_what_help_needs_imports_nothing_heavy(kind: str):
    """Help texts and the check of options come from these modules, so that they start in a fraction of a second."""
    modules = [name for name in SOURCES if kind in (name.rpartition(".")[2], room(name))]
    script = f"import sys\nfrom importlib import import_module\nfor name in {modules}: import_module(name)\n"
    script += f"print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]", f"{', '.join(modules)} import {done.stdout}"
