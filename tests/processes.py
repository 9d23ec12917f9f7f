"""
Commands in several processes, as torchrun starts them, but in forks of one process: what takes seconds to import is
imported once. `test_distributed.py` starts torchrun itself, `detection/test_plant.py` accelerate.
"""

import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import traceback
from importlib import import_module
from pathlib import Path


ROOT = Path(__file__).parents[1]
END = "\n== end of a run ==\n"


def in_processes(*runs: tuple[int, list[str]], imports: str = "hf_asd.recipe.stages") -> list[str]:
    """
    Runs Python's command lines one after the other, each in so many processes that find each other.

    Args:
        runs (`tuple[int, list[str]]`): the number of processes, and what follows `python`: `-m` and a module, or a
            script, and its arguments.
        imports (`str`, *optional*, defaults to `"hf_asd.recipe.stages"`): the module that is imported before.

    Returns:
        `list[str]`: what each run prints, all its processes together.
    """
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, __file__, imports, json.dumps(runs)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split(END)[:-1]


def _run_forks(number: int, arguments: list[str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    forks = set()
    for rank in range(number):
        if not (process := os.fork()):
            if number > 1:
                shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": number}
                own = {"RANK": rank, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": number}
                os.environ |= {name: str(value) for name, value in (shared | own).items()}
            _run_and_exit(arguments)
        forks.add(process)
    while forks:
        process, status = os.wait()
        forks.remove(process)
        if status:
            for other in forks:  # they would wait for the failed one
                os.kill(other, signal.SIGKILL)
            sys.exit(1)


def _run_and_exit(arguments: list[str]) -> None:
    code = 1
    try:
        if arguments[0] == "-m":
            sys.argv = arguments[1:]
            runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = arguments
            runpy.run_path(arguments[0], run_name="__main__")
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


if __name__ == "__main__":
    sys.path[0] = str(ROOT)
    import_module(sys.argv[1])
    for run in json.loads(sys.argv[2]):
        _run_forks(*run)
        print(END, end="", flush=True)
