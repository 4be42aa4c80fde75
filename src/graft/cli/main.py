"""The command line: one thin command a verb. Answers on stdout, all else on stderr.

Exit codes: 0 done; 1 the system refused (disk full, no permission); 2 wrong usage; 3 the images
cannot be used; 4 a model or its weights are missing; 5 a download failed; 130 interrupted.
"""

import contextlib
import os
import sys

import click

from graft.cli import data_commands, model_commands
from graft.errors import INTERRUPTED, GraftError

_EXIT_CODES = (__doc__ or "").partition("\n\n")[2]


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=_EXIT_CODES)
@click.version_option(package_name="graft", message="graft %(version)s")
def main() -> None:
    """A folder of labeled images in, an image classifier you can trust and use out."""


for _command in (*data_commands.COMMANDS, *model_commands.COMMANDS):
    main.add_command(_command)


def process() -> None:
    """Entry point of the process: `run`, then out at once.

    All is written and closed by then; taking PyTorch's modules apart would take 0.3 s more.
    """
    code = 0
    try:
        run()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # a reader that has gone
            stream.flush()
    os._exit(code)


def run() -> None:
    """The command line: errors become one line on stderr and their exit code."""
    try:
        main.main(standalone_mode=False)
    except GraftError as error:
        _fail(str(error), error.exit_code)
    except click.exceptions.Abort:
        _interrupted()
    except KeyboardInterrupt:
        _interrupted()
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except OSError as error:  # a reader of stdout that has gone (head, less) is click's business
        where = f"{error.filename}: " if error.filename else ""
        _fail(f"{where}{error.strerror or error}", GraftError.exit_code)


def _fail(message: str, code: int) -> None:
    click.echo(f"graft: {message}", err=True)
    sys.exit(code)


def _interrupted() -> None:
    _fail(
        "interrupted; what was encoded is in the cache; graft train goes on from its last "
        "checkpoint with --resume and the same --out, graft compare with the same command",
        INTERRUPTED,
    )
