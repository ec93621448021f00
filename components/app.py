"""The one file that knows every tab: the page, and the local server it is shown by."""

import argparse
import hmac
import signal
import socket
import sys
import threading
import webbrowser
from contextlib import suppress
from pathlib import Path

import gradio as gr
import uvicorn
from fastapi import FastAPI
from starlette.staticfiles import StaticFiles

from components.compare_tab import build_compare
from components.data.sources import dataset_name
from components.data.tab import build_data
from components.export_tab import build_export
from components.handlers import log_to, show_errors
from components.header import build_header
from components.page import Page
from components.runs.tab import build_runs
from components.security import LOCAL_NAMES, LocalOnly
from components.theme import studio_theme
from components.train.tab import build_train
from studio.environment.llama import start_llama_build
from studio.environment.ports import free_port
from studio.errors import SetupError, StudioError
from studio.models.reference import STARTER
from studio.paths import ASSETS_DIR, Workspace
from studio.training.config import TrainSettings

HOST = "127.0.0.1"
PORT = 7860
_MAX_UPLOAD = "4gb"
# The order matters for the first two only: each tab's sheet has classes of its own.
_SHEETS = (
    *("fonts", "studio", "data", "rows", "sources", "shape", "checkup"),
    *("train", "runs", "compare", "export", "quality"),
)
_HEAD = "".join(f'<link rel="stylesheet" href="/studio/css/{name}.css">' for name in _SHEETS)
_LOCAL = (HOST, "localhost", "::1")
TABS = (
    ("data", "Data", build_data),
    ("train", "Train", build_train),
    ("runs", "Runs", build_runs),
    ("compare", "Compare", build_compare),
    ("export", "Export", build_export),
)


def build_app(workspace: Workspace) -> gr.Blocks:
    """The whole page over one workspace."""
    log_to(workspace)
    with gr.Blocks(title="LoRA Studio", analytics_enabled=False) as app:
        header = build_header(workspace)
        states = {
            "dataset": gr.State(""),
            "run": gr.State(""),
            # Empty until the page is open, so that its listeners always hear of the first one.
            "model": gr.State(""),
            "recipe": gr.State(0),
            "max_length": gr.State(TrainSettings().max_length),
            "duplicate": gr.State({}),
            "llama_cpp": gr.State(""),
        }
        with gr.Tabs(elem_id="tabs") as tabs:
            page = Page(workspace=workspace, tabs=tabs, **states)
            for tab_id, label, build in TABS:
                with gr.Tab(label, id=tab_id, elem_id=f"tab-{tab_id}") as tab:
                    build(page)
                tab.select(None, js=f"() => {{ window.studioAddress({{tab: '{tab_id}'}}); }}")
        _connect(app, page, header)
        _progress_nowhere(app)
    return app


def _progress_nowhere(app: gr.Blocks) -> None:
    """Hidden progress is on no part of the page. Without this the page keeps a status for every
    output of every event and writes all of them anew whenever any event starts or ends: more than
    half the time that a page took to open.
    """
    for event in app.fns.values():
        if event.show_progress == "hidden":
            event.show_progress_on = []


def _connect(app: gr.Blocks, page: Page, header: gr.HTML) -> None:
    """What belongs to no tab: the choices in the address, the header, the pill."""
    known = {tab_id for tab_id, _, _ in TABS}
    kept = [page.dataset, page.run, page.model]

    @show_errors
    def open_address(request: gr.Request) -> tuple[object, ...]:
        chosen = request.query_params
        tab = chosen.get("tab", "")
        selected = page.go_to(tab) if tab in known else gr.skip()
        return (
            chosen.get("dataset", ""),
            chosen.get("run", ""),
            chosen.get("model", STARTER),
            selected,
        )

    @show_errors
    def describe(dataset: str, run: str, model: str) -> dict[str, object]:
        return {
            "dataset": dataset,
            "dataset_name": dataset_name(page.workspace, dataset),
            "run": run,
            "model": "" if model == STARTER else model,
            "known": True,
        }

    @show_errors
    def open_job(event: gr.EventData) -> tuple[object, object]:
        tab = "runs" if event.kind == "train" else event.kind
        run = event.job if event.kind == "train" else gr.skip()
        return run, page.go_to(tab) if tab in known else gr.skip()

    # Queued, or the tabs would not hear of the dataset and run that the address names.
    app.load(open_address, None, [*kept, page.tabs], show_progress="hidden").then(
        describe, kept, header, queue=False, show_progress="hidden"
    )
    gr.on(
        [state.change for state in kept],
        describe,
        kept,
        header,
        queue=False,
        show_progress="hidden",
    )
    header.click(open_job, None, [page.run, page.tabs], show_progress="hidden")


def serve(argv: list[str]) -> int:
    """Open the studio and stay until it is stopped; running jobs go on without it."""
    chosen = _parse(argv)
    try:
        if chosen.host not in _LOCAL and not chosen.password:
            raise SetupError(
                f"Listening on {chosen.host} would let anyone on the network use this computer.",
                "Add --password with a password of your own, or leave --host out.",
                "password_needed",
            )
        port = free_port(chosen.host, chosen.port)
        workspace = Workspace.open(chosen.workspace)
    except StudioError as error:
        print(f"{error.message}\n{error.fix} [{error.code}]", file=sys.stderr)
        return 1
    if port != chosen.port:
        print(f"Port {chosen.port} is taken; using {port} instead.", flush=True)
    shown_host = HOST if chosen.host in ("0.0.0.0", "::") else chosen.host
    app = asgi_app(build_app(workspace), chosen.host, chosen.password)
    # Live connections of open pages would hold the end up for as long as they are open.
    config = uvicorn.Config(
        app, chosen.host, port, log_level="warning", timeout_graceful_shutdown=1
    )
    server = _Server(config, f"http://{shown_host}:{port}", open_browser=not chosen.no_browser)
    server.run_until_stopped()
    return 0


def asgi_app(page: gr.Blocks, host: str = HOST, password: str = "") -> FastAPI:
    """The page with its static files, behind the security middleware."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    names = ("*",) if host in ("0.0.0.0", "::") else (*LOCAL_NAMES, host)
    app.add_middleware(LocalOnly, hosts=names)
    for folder in ("css", "fonts", "icons"):
        app.mount(f"/studio/{folder}", StaticFiles(directory=ASSETS_DIR / folder))
    return gr.mount_gradio_app(
        app,
        page,
        path="/",
        server_name=host,
        auth=(lambda _, given: hmac.compare_digest(given.encode(), password.encode()))
        if password
        else None,
        auth_message="Any user name; the password is the one the studio was started with.",
        favicon_path=str(ASSETS_DIR / "icons" / "logo.svg"),
        show_error=False,
        max_file_size=_MAX_UPLOAD,
        ssr_mode=False,
        footer_links=[],
        run_history=False,
        pwa=False,
        app_kwargs={"docs_url": None, "redoc_url": None, "openapi_url": None},
        theme=studio_theme(),
        head=_HEAD,
    )


class _Server(uvicorn.Server):
    """Says when it answers, opens the browser, and ends without noise on Ctrl-C or SIGTERM."""

    def __init__(self, config: uvicorn.Config, address: str, *, open_browser: bool) -> None:
        super().__init__(config)
        self.address = address
        self.open_browser = open_browser

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        print(f"LoRA Studio is ready at {self.address}", flush=True)
        threading.Thread(target=self._after_opening, daemon=True).start()

    def _after_opening(self) -> None:
        if self.open_browser:
            webbrowser.open(self.address)
        with suppress(StudioError):  # the Export tab shows the state and starts it again
            start_llama_build()

    def run_until_stopped(self) -> None:
        """Serve until a signal; uvicorn raises it again after its own clean end."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        self.run()
        print("LoRA Studio is closed. Running jobs go on; open it again to see them.", flush=True)


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="launch.py ui", description="Open the studio.")
    parser.add_argument(
        "--host", default=HOST, help="address to listen on (default: this computer)"
    )
    parser.add_argument("--port", type=int, default=PORT, help=f"first port to try ({PORT})")
    parser.add_argument("--workspace", type=Path, help="folder for datasets and runs")
    parser.add_argument("--no-browser", action="store_true", help="do not open the browser")
    parser.add_argument("--password", default="", help="ask for it; needed with --host")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(serve(sys.argv[1:]))
