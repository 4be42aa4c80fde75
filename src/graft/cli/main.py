"""The command line: one thin command a verb. Answers on stdout, all else on stderr.

Exit codes: 0 done; 1 the system refused (disk full, no permission); 2 wrong usage; 3 the images
cannot be used; 4 a model, its weights or a package is missing or does not fit; 5 a download failed;
130 interrupted, 143 terminated.
"""

import os
import re
import sys

import click
from click.exceptions import NoArgsIsHelpError, NoSuchCommand

from graft.cli import (
    app_commands,
    chat_commands,
    data_commands,
    explain_commands,
    export_commands,
    feature_commands,
    import_commands,
    lesson_commands,
    model_commands,
    network_commands,
    predict_commands,
    push_commands,
    review_commands,
    serve_commands,
    setup_commands,
    tune_commands,
)
from graft.cli.answers import print_json, print_line
from graft.cli.process import (
    Streams,
    ended_by_signals,
    exit_code_of_signal,
    refuse_many_processes,
    speaks_for_all,
)
from graft.errors import INTERRUPTED, GraftError, ModelError
from graft.utils.terminal import one_line

_EXIT_CODES = (__doc__ or "").partition("\n\n")[2]


class _InOrder(click.Group):
    """A group whose commands are listed in the order in which they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(
    cls=_InOrder, context_settings={"help_option_names": ["-h", "--help"]}, epilog=_EXIT_CODES
)
@click.version_option(package_name="graft", message="graft %(version)s")
@click.pass_context
def main(ctx: click.Context) -> None:
    """A folder of labeled images in, an image classifier you can trust, explain and use out."""
    refuse_many_processes(ctx.invoked_subcommand)


# In the order of the work.
for _commands in (
    predict_commands.COMMANDS,
    data_commands.COMMANDS,
    model_commands.COMMANDS,
    tune_commands.COMMANDS,
    review_commands.COMMANDS,
    predict_commands.MORE_COMMANDS,
    explain_commands.COMMANDS,
    network_commands.COMMANDS,
    chat_commands.COMMANDS,
    lesson_commands.COMMANDS,
    export_commands.COMMANDS,
    push_commands.COMMANDS,
    serve_commands.COMMANDS,
    app_commands.COMMANDS,
    feature_commands.COMMANDS,
    data_commands.MORE_COMMANDS,
    model_commands.MORE_COMMANDS,
    import_commands.COMMANDS,
    setup_commands.COMMANDS,
):
    for _command in _commands:
        main.add_command(_command)


def process() -> None:
    """Entry point of the process: `run`, then out at once.

    All is written and closed by then; taking PyTorch's modules apart would take 0.3 s more.
    """
    streams = Streams()
    ended_by_signals()
    # PyTorch's threads wait for one another by spinning, 300,000 times unless told otherwise: on a
    # core that other work shares, fitting a head then takes four times as long (docs/recipes.md).
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    code = 0
    try:
        run()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    os._exit(streams.flushed(code))


def run() -> None:
    """The command line: errors become one line on stderr and their exit code."""
    try:
        main.main(prog_name="graft", standalone_mode=False)
    except GraftError as error:
        _fail(str(error), error.exit_code, kind=type(error).__name__)
    except click.exceptions.Abort:
        _interrupted()
    except KeyboardInterrupt:
        _interrupted()
    except NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.UsageError as error:
        _fail(_explained(error), error.exit_code, error.ctx, "UsageError")
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except Exception as error:
        _unforeseen(error)
        raise


def _unforeseen(error: Exception) -> None:
    """Fail with one line for a package that cannot be imported or a refusal of the system."""
    from graft.diagnosis.packages import explained

    if not speaks_for_all():
        sys.exit(GraftError.exit_code)

    if told := explained(error):
        _fail(told, ModelError.exit_code, kind="ModelError")
    if isinstance(error, OSError):  # a reader of stdout that has gone is click's business
        where = f"{error.filename}: " if error.filename else ""
        _fail(f"{where}{error.strerror or error}", GraftError.exit_code, kind="OSError")
    # PyTorch says so in a RuntimeError, of the processor and of a GPU in other words.
    if isinstance(error, MemoryError) or re.search(r"allocate memory|out of memory", str(error)):
        _fail(
            "there is not enough memory; a smaller --image-size, a smaller --batch-size or fewer "
            "--views need less",
            GraftError.exit_code,
            kind="MemoryError",
        )


def _explained(error: click.UsageError) -> str:
    """What click found wrong with the command line, in one line."""
    match error:
        case click.NoSuchOption():
            what, near = f"no such option {error.option_name}", error.possibilities
        case NoSuchCommand():
            what, near = f"no such command {error.command_name}", error.possibilities
        case click.MissingParameter():
            name = error.param.make_metavar(error.ctx) if error.param and error.ctx else ""
            what, near = f"{name} is missing", None
        case click.BadParameter():
            name = error.param.opts[-1] if error.param else "argument"
            what, near = f"{name}: {error.message.rstrip('.')}", None
        case _:
            what, near = error.format_message().rstrip("."), None
            what = what[:1].lower() + what[1:]
    path = error.ctx.command_path if error.ctx else "graft"
    return f"{what}; did you mean {near[0]}?" if near else f"{what}; see {path} --help"


def _fail(
    message: str, code: int, ctx: click.Context | None = None, kind: str = "GraftError"
) -> None:
    """One line on stderr and, for a program that asked for JSON, an object on stdout; of several
    processes that torchrun started, by the first that fails.
    """
    if not speaks_for_all():
        sys.exit(code)
    if "--json" in sys.argv[1:]:
        error = {"kind": kind, "message": one_line(message), "exit_code": code}
        print_json({"error": error})
    print_line(f"{ctx.command_path if ctx else 'graft'}: {message}", err=True)
    sys.exit(code)


def _interrupted() -> None:
    code = exit_code_of_signal()
    ended = "interrupted" if code == INTERRUPTED else "terminated"
    _fail(
        f"{ended}; what was encoded is in the cache. graft train resumes from its last "
        "checkpoint with --resume and the same --out, graft compare with the same command",
        code,
        kind="Interrupted",
    )
