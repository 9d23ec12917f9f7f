"""Commands for recipes: run, clusters, factory."""

import argparse
from pathlib import Path

from ..recipe.config import STAGE_NAMES, StageName
from ..simulation.config import FactoryConfig
from .flags import add_flag, add_options, build_config
from .results import check_results, standard_stream, write_result


class _RecipeHelp(argparse.Action):
    """Prints a command's help, and after it every option of a recipe."""

    def __init__(self, option_strings, dest, **kwargs):
        super().__init__(option_strings, dest, nargs=0, help="show this help, with every option of a recipe")

    def __call__(self, parser, namespace, values, option_string=None):
        from ..recipe.loading import options_help

        print(f"{parser.format_help()}\nOptions of a recipe:\n{options_help()}")
        parser.exit()


def add_commands(commands) -> None:
    """Adds the parsers of these commands."""
    command = _recipe_command(commands, "run", "run the stages of a recipe; only what changed runs again")
    add_flag(command, "--until", StageName, "last stage to run", STAGE_NAMES[-1])
    command.set_defaults(run=run)

    command = _recipe_command(commands, "clusters", "write a recipe's clusters as a CSV in which they can be named")
    add_flag(command, "--csv", Path, "the file to write, for --cluster.names_file; -: standard output")
    command.set_defaults(run=clusters)

    command = commands.add_parser("factory", help="write the recordings of the simulated factory")
    command.add_argument("folder", type=Path, help="folder to write to")
    add_options(command, FactoryConfig)
    command.set_defaults(run=factory)


def _recipe_command(commands, name: str, help: str) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=help, add_help=False, allow_abbrev=False)
    command.add_argument("-h", "--help", action=_RecipeHelp)
    command.add_argument("recipe", type=Path, help="folder with a recipe.yaml, or a YAML file")
    command.set_defaults(overrides=[])
    command.epilog = "Any option of the recipe can be given as --SECTION.OPTION VALUE."
    return command


def run(args: argparse.Namespace) -> None:
    """Runs a recipe up to a stage, and prints what it found."""
    from ..distributed import partial_state
    from ..recipe.loading import load_recipe
    from ..recipe.runner import run_recipe
    from ..recipe.summary import summary

    folders = run_recipe(load_recipe(args.recipe, args.overrides), args.until)
    if "evaluate" in folders and partial_state().is_main_process:
        print(f"\n{summary(folders)}")


def clusters(args: argparse.Namespace) -> None:
    """Writes a recipe's clusters as a table in which they can be named."""
    from ..recipe.loading import load_recipe

    check_results(args, "csv")
    recipe = load_recipe(args.recipe, args.overrides)
    if recipe.cluster.names_file is not None:
        raise ValueError(f"cluster.names_file is {recipe.cluster.names_file}, so clusters have names; edit that file.")
    if args.csv.is_file() and standard_stream(args.csv) is None:
        raise ValueError(f"{args.csv}: exists already, perhaps with names; give another --csv, or remove it.")
    from ..recipe.runner import run_recipe

    folders = run_recipe(recipe, "cluster")
    write_result(args.csv, (folders["cluster"] / "clusters.csv").read_text(encoding="utf-8"))
    if standard_stream(args.csv) is None:
        print(
            f"{args.csv}: listen to the clips of a cluster, edit its name (equal names merge clusters), and continue "
            f"with --cluster.names_file {args.csv}"
        )


def factory(args: argparse.Namespace) -> None:
    """Writes the simulated factory."""
    config = build_config(args, FactoryConfig)
    from ..simulation.writer import write_factory

    print(write_factory(config, args.folder))
