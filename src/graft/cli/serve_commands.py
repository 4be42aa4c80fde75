"""The command that puts runs behind HTTP: serve."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from graft.cli.answers import print_line
from graft.cli.needed_packages import require_packages
from graft.cli.options import BACKEND, files
from graft.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])

NEEDED = ("starlette", "uvicorn", "python_multipart", "prometheus_client")
SHORTEST_KEY = 16
# The fields of graft.serve.limits.Limits, with options and defaults. These are written here again,
# and compared by a test, since importing them would make --help load Pillow.
LIMITS = {
    "upload_megabytes": ("--max-upload", "MB of one request.", 32),
    "images": ("--max-images", "Images in one request.", 64),
    "megapixels": ("--max-megapixels", "Megapixels of one image.", 50),
    "queue_images": ("--queue-images", "Images that may wait.", 128),
    "queue_megapixels": ("--queue-megapixels", "Megapixels that may wait.", 400),
    "queue_megabytes": ("--queue-megabytes", "MB of uploads in memory at once.", 256),
    "deadline": ("--deadline", "Seconds until an answer, or 504.", 30),
    "header_seconds": ("--header-seconds", "Seconds a client has to send its headers.", 10),
    "body_seconds": ("--body-seconds", "Seconds a client has to send its body.", 30),
    "drain_seconds": ("--drain-seconds", "Seconds to answer 503 before it stops listening.", 0.5),
    "stop_seconds": ("--stop-seconds", "Seconds to finish what was accepted at a stop.", 30),
    "connections": ("--connections", "Connections open at once.", 512),
}
WHOLE = ("images", "queue_images", "connections")


def _limits(command: F) -> F:
    """An option for each limit."""
    for name, (option, text, usual) in reversed(LIMITS.items()):
        kind: click.ParamType[Any] = click.FloatRange(0, min_open=name != "drain_seconds")
        if name in WHOLE:
            kind = click.IntRange(1)
        told = f"{text}  [default: {usual:g}]"
        command = click.option(option, name, type=kind, help=told)(command)
    return command


@click.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, shell_complete=files)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option(
    "--port",
    default=8000,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port; 0 takes a free one.",
)
@click.option(
    "--api-key-file",
    type=click.Path(),
    shell_complete=files,
    help="File with the key that requests must bring; or set $GRAFT_API_KEY.",
)
@click.option("--max-error", help="Abstain so that at most this fraction is wrong, such as 2%.")
@click.option(
    "--coverage", help="Prediction sets that hold the true label this often, such as 95%."
)
@click.option(
    "--nearest", default=0, type=click.IntRange(0), help="Nearest training images to show."
)
@click.option("--answer-all", is_flag=True, help="Answer for out-of-distribution images, too.")
@click.option(
    "--max-memory",
    type=click.FloatRange(0, min_open=True),
    help="GB the process may use with all runs loaded; 80 % of the machine's by default.",
)
@_limits
@BACKEND
def serve(
    runs: tuple[str, ...],
    host: str,
    port: int,
    api_key_file: str | None,
    max_error: str | None,
    coverage: str | None,
    nearest: int,
    answer_all: bool,
    max_memory: float | None,
    backend: str,
    **limits: float | None,
) -> None:
    """Serve trained runs over HTTP, each at /v1/models/NAME:predict.

    NAME is the run folder's; give another as NAME=RUN. All addresses are described at /docs. What
    waits is bounded: beyond that clients are told to come again (429). SIGTERM or Ctrl-C finishes
    what was accepted; SIGHUP loads runs whose folders were replaced. The log on stderr is JSON.

    curl --data-binary @photo.jpg localhost:8000/v1/models/NAME:predict
    """
    require_packages("serve", NEEDED)
    from graft.features.torch_threads import cores_for_encoder
    from graft.serve.http_server import Server
    from graft.serve.limits import Limits
    from graft.serve.listening import address_of, bound
    from graft.serve.request_log import log_json
    from graft.serve.served_runs import Asked, ServedRuns, memory_of_machine, named_paths
    from graft.serve.service import Service

    within = Limits(**{name: value for name, value in limits.items() if value is not None})  # type: ignore[arg-type]
    key = _key(api_key_file)
    paths = named_paths(runs)
    machine = memory_of_machine()
    memory = int(max_memory * 1e9) if max_memory else machine and int(0.8 * machine)
    served = ServedRuns(paths, Asked(max_error, coverage, answer_all, nearest, backend), memory)
    with bound(host, port) as listening:
        loaded = served.read(lambda said: print_line(said, err=True))
        for run in loaded:
            if run.promise:
                print_line(f"{run.name}: {run.promise}", err=True)
        _warn_if_open(listening, key)
        service = Service(served, within, key)
        names = ", ".join(paths)
        print_line(
            f"{address_of(listening)}/docs  serves {names} once it has warmed up; Ctrl-C ends it"
        )
        log_json()
        with cores_for_encoder(backend):
            Server(service, loaded).run([listening])
    if service.failure is not None:
        raise service.failure


def _warn_if_open(listening: socket.socket, key: str | None) -> None:
    from graft.serve.listening import address_of, is_loopback

    if not is_loopback(listening) and key is None:
        click.echo(
            f"graft serve: warning: {address_of(listening)} can be reached from other machines, "
            "and everybody who reaches it may send images; set --api-key-file",
            err=True,
        )


def _key(file: str | None) -> str | None:
    """The API key, or None; UsageError for one that is too short to be one."""
    where = file or "$GRAFT_API_KEY"
    key = os.environ.get("GRAFT_API_KEY")
    if file is not None:
        try:
            key = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"--api-key-file {file} cannot be read: {error}") from error
    if key is None:
        return None
    if len(key) < SHORTEST_KEY or not key.isascii() or not key.isprintable() or " " in key:
        raise UsageError(
            f"{where}: expected a key of at least {SHORTEST_KEY} visible ASCII characters; "
            "openssl rand -hex 32 makes one"
        )
    return key


COMMANDS = (serve,)
