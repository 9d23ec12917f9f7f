"""The command `hf-asd app`: a page in the browser."""

import argparse
from pathlib import Path

from ..app.config import LOCAL_HOST, MAX_FILES, MAX_UPLOAD_MB, is_local
from .flags import add_flag


INSTALL = 'the page needs gradio: pip install "hf-asd[app]"'


def add_commands(commands) -> None:
    """Adds the parser of this command."""
    command = commands.add_parser(
        "app", help="try a detector in the browser, or learn a machine there; nothing leaves this computer"
    )
    command.add_argument(
        "detector", nargs="?", help="folder of the detector, or its id on the Hub; without one the page learns one"
    )
    add_flag(command, "--revision", str | None, "branch, tag or commit of a detector on the Hub; none: main", None)
    text = "folder that the detector was fitted on, to hear the nearest normal recording beside a new one"
    add_flag(command, "--normal", Path | None, text, None)
    text = (
        f"address to listen on, such as 0.0.0.0 for everybody in the network; none: {LOCAL_HOST}, this computer alone"
    )
    add_flag(command, "--host", str | None, text, None)
    text = "port to listen on; none: the first free one from 7860 on"
    add_flag(command, "--port", int | None, text, None, at_least=1, at_most=65535)
    add_flag(command, "--max-upload-mb", int, "largest size of a file that is dropped", MAX_UPLOAD_MB, at_least=1)
    add_flag(
        command,
        "--max-files",
        int,
        "maximum number of recordings that are dropped or checked at a time",
        MAX_FILES,
        at_least=1,
    )
    add_flag(command, "--open", bool, "open the page in the browser", False)
    command.set_defaults(run=app)


def app(args: argparse.Namespace) -> None:
    """Serves the page until Ctrl+C."""
    if args.detector is None and (args.normal is not None or args.revision is not None):
        raise ValueError("--normal and --revision belong to a detector; name it, or leave them out.")
    try:
        import gradio  # noqa: F401
    except ImportError as error:
        raise ImportError(f"{INSTALL} ({error})") from error
    from ..app.normal_recordings import NormalRecordings
    from ..app.serving import serve
    from ..app.settings import AppSettings
    from ..detection.detector import AnomalyDetector

    detector = None if args.detector is None else AnomalyDetector.from_pretrained(args.detector, args.revision)
    normal = NormalRecordings()
    if args.normal is not None and detector is not None:
        normal = NormalRecordings.of_folder(args.normal, detector)
    host = args.host or LOCAL_HOST
    is_private = is_local(host)
    settings = AppSettings(
        detector,
        normal,
        reads_folders=is_private,
        max_upload_mb=args.max_upload_mb,
        max_files=args.max_files,
    )

    def ready(address: str) -> None:
        print(f"the page is at {address} (Ctrl+C ends it)", flush=True)
        if not is_private:
            print(
                f"--host is {host}: everybody who can reach this computer can use the page. Folders of this "
                "computer cannot be named there.",
                flush=True,
            )
        if args.open:
            import webbrowser

            webbrowser.open(address)

    serve(settings, host, args.port, ready)
