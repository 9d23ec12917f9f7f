"""Serving the page: to this computer alone unless asked, within limits, with files that are deleted afterwards."""

import errno
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse

from ..detection.detector import AnomalyDetector
from .config import LOCAL_HOST
from .page import SCRIPT, STYLE, build_page, theme
from .sessions import Sessions
from .settings import AppSettings


MB = 2**20
API = "/gradio_api"
PORTS = range(7860, 7960)
UPLOADS_AT_A_TIME = 20  # times the largest file: what one request may hold


class Limits:
    """
    Refuses requests before they are read: those that hold too much, and those that want the server to fetch something
    from elsewhere.

    Args:
        app: the server behind it.
        max_bytes (`int`): of one request.
    """

    def __init__(self, app: Any, max_bytes: int):
        self.app, self.max_bytes = app, max_bytes

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        await (self.app if refusal is None else refusal)(scope, receive, send)

    def _refusal(self, scope: Any) -> PlainTextResponse | None:
        path, headers = scope["path"], dict(scope["headers"])
        if path.startswith((f"{API}/proxy=", f"{API}/file=http:", f"{API}/file=https:")):
            return PlainTextResponse("This app fetches nothing from elsewhere.", 403)
        length = headers.get(b"content-length", b"")
        if scope["method"] != "POST":
            return None
        if not length.isdigit() and path.startswith(f"{API}/upload"):
            return PlainTextResponse("The length of an upload has to be known.", 411)
        if length.isdigit() and int(length) > self.max_bytes:
            return PlainTextResponse(f"At most {self.max_bytes // MB} MB are taken at a time.", 413)
        return None


@contextmanager
def serving(settings: AppSettings, host: str | None = LOCAL_HOST, port: int | None = None) -> Iterator[str]:
    """
    Serves the app while the block runs. Its files are in a folder of its own, which is deleted at the end.

    Args:
        settings ([`AppSettings`]): what is offered.
        host (`str`, *optional*, defaults to `"127.0.0.1"`): the address to listen on; `None`: what the environment
            says, as in a Space.
        port (`int`, *optional*): `None`: the first free one from 7860 on, or what the environment says.

    Yields:
        `str`: the address of the page.

    Raises:
        OSError: the port is not free, or the address is not of this computer.
    """
    # Proxies of a company are not for this computer.
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), "localhost", LOCAL_HOST]))
    with tempfile.TemporaryDirectory(prefix="hf-asd-app-", ignore_cleanup_errors=True) as folder, _uploads_in(folder):
        pages = Path(folder, "pages")
        pages.mkdir()
        page = build_page(Sessions(pages, settings.detector, settings.normal), settings)
        limits = Middleware(Limits, max_bytes=UPLOADS_AT_A_TIME * settings.max_upload_mb * MB)  # pyright: ignore
        try:
            _, address, _ = page.launch(
                server_name=host,
                server_port=port if host is None else _free_port(host, port),
                prevent_thread_lock=True,
                quiet=True,
                inbrowser=False,
                share=False,
                show_error=True,
                footer_links=[],
                run_history=False,
                enable_monitoring=False,
                ssr_mode=False,
                pwa=False,
                mcp_server=False,
                max_file_size=settings.max_upload_mb * MB,
                theme=theme(),
                css_paths=STYLE,
                head=f"<script>{SCRIPT.read_text(encoding='utf-8')}</script>",
                app_kwargs={"middleware": [limits]},
            )
            yield address
        finally:
            page.close(verbose=False)


def _free_port(host: str, wanted: int | None) -> int:
    """
    The port to listen on.

    Raises:
        OSError: it is not free, or the address is not of this computer; names the option.
    """
    kind = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in PORTS if wanted is None else [wanted]:
        try:
            with socket.socket(kind) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, port))
            return port
        except PermissionError as error:
            raise OSError(f"--port is {port}; ports below 1024 need the rights of root. Give another.") from error
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise OSError(
                    f"--host is {host}, which is not an address of this computer ({error.strerror}). Give 127.0.0.1 "
                    "for this computer alone, or 0.0.0.0 for everybody in its network."
                ) from error
    taken = f"--port is {wanted}" if wanted is not None else f"the ports from {PORTS[0]} to {PORTS[-1]}"
    raise OSError(f"{taken}, which another program uses. Give another --port.")


@contextmanager
def _uploads_in(folder: str) -> Iterator[None]:
    """Lets gradio keep its files in a folder."""
    before = os.environ.get("GRADIO_TEMP_DIR")
    os.environ["GRADIO_TEMP_DIR"] = str(Path(folder, "uploads"))
    try:
        yield
    finally:
        if before is None:
            del os.environ["GRADIO_TEMP_DIR"]
        else:
            os.environ["GRADIO_TEMP_DIR"] = before


def serve(
    settings: AppSettings, host: str | None, port: int | None, ready: Callable[[str], None] = lambda _: None
) -> None:
    """
    Serves the app until the process is interrupted.

    Args:
        settings ([`AppSettings`]), host, port: as for [`serving`].
        ready (`Callable[[str], None]`, *optional*): called with the address of the page.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _end)
    with serving(settings, host, port) as address:
        ready(address)
        threading.Event().wait()


def _end(*_) -> None:
    """Ends the process as usual, so that files are deleted."""
    sys.exit(0)


def serve_space(folder: Path) -> None:
    """
    Serves a detector as a Space on the Hub does: what is dropped is checked, and nothing else is offered.

    Args:
        folder (`Path`): the detector's folder.
    """
    detector = AnomalyDetector.from_pretrained(folder)
    serve(
        AppSettings(detector, reads_folders=False, learns=False, in_space=True, max_upload_mb=50, max_files=50),
        None,
        None,
    )
