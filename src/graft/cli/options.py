"""Options that commands share, and those that are made from the settings in config.py."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from graft.choices import BACKEND_HELP, BACKENDS

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from graft.utils.progress import Progress


def files(ctx: click.Context, param: click.Parameter, incomplete: str) -> list["CompletionItem"]:
    """For the shell's completion: names of files and folders."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]


def model_names(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list["CompletionItem"]:
    """For the shell's completion: the chosen models, or the folder of a run."""
    from click.shell_completion import CompletionItem

    from graft.models.zoo import CHOSEN

    found = [CompletionItem(name) for name in CHOSEN if name.startswith(incomplete)]
    return found or files(ctx, param, incomplete)


JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
BACKEND = click.option(
    "--backend", default="auto", type=click.Choice(BACKENDS), show_default=True, help=BACKEND_HELP
)
CORRECTIONS = click.option(
    "--corrections",
    shell_complete=files,
    help="Decisions of graft review to apply.",
)
TYPES = {"integer": int, "number": float, "string": str}
# Columns of an option's name; longer ones have a line of their own.
NAMES = 24


class SettingsCommand(click.Command):
    """A command with an option for each of some settings: those named in `settings`, or all.

    The options are made when they are needed, so that `graft --help` need not load pydantic. With
    `advanced`, --help shows the options in `settings` and --help-all the other settings, too.
    """

    def __init__(
        self, *args: Any, settings: Sequence[str], advanced: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.shown, self.advanced, self.made = settings, advanced, False

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The options in the order in which they are shown: settings first."""
        if not self.made:
            options = settings_options()
            names = [*self.shown, *(options if self.advanced else ())]
            self.params[:0] = [options[name] for name in dict.fromkeys(names)]
            self.made = True
        return super().get_params(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Two lists, the second of which is for --help-all only."""
        options = [p for p in self.get_params(ctx) if isinstance(p, click.Option)]
        rows = [(p.name, row) for p in options if (row := p.get_help_record(ctx))]
        advanced = set(settings_options()) - set(self.shown)
        with formatter.section("Options"):
            formatter.write_dl([row for name, row in rows if name not in advanced], NAMES)
        if hidden := [row for name, row in rows if name in advanced]:
            with formatter.section("Advanced"):
                if ctx.meta.get("help all"):
                    formatter.write_dl(hidden, NAMES)
                else:
                    named = [row[0].split()[0] for row in hidden]
                    formatter.write_text(f"{', '.join(named)}: see {ctx.command_path} --help-all.")


def help_all(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --help-all, for a SettingsCommand with advanced settings."""

    def shown(ctx: click.Context, option: click.Parameter, wanted: bool) -> None:
        if wanted:
            ctx.meta["help all"] = True
            click.echo(ctx.get_help())
            ctx.exit()

    return click.option(
        "--help-all",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=shown,
        help="Show the advanced options, too, and exit.",
    )(command)


def settings_options() -> dict[str, click.Option]:
    """An option for each setting of TrainConfig and SplitConfig, by name."""
    from graft.config import SplitConfig, TrainConfig

    return {
        name: _option(name, schema)
        for kind in (SplitConfig, TrainConfig)
        for name, schema in kind.model_json_schema()["properties"].items()
    }


def _option(name: str, schema: Mapping[str, Any]) -> click.Option:
    from graft.config import depends_on_model, typed

    flag, values, default = name.replace("_", "-"), typed(schema), schema["default"]
    text = schema["description"] + "  [default: by model]" * depends_on_model(name)
    shown = default is not None
    if values["type"] == "boolean":
        names = [f"--{flag}/--no-{flag}"]
        return click.Option(names, default=default, help=text, show_default=shown)
    choices = values.get("enum")

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        if name == "model":
            return model_names(ctx, param, incomplete)
        return [choice for choice in choices or () if choice.startswith(incomplete)]

    # Ranges and choices are checked by the settings themselves, whoever gives them.
    return click.Option(
        [f"--{flag}"],
        default=default,
        type=TYPES[values["type"]],
        metavar=f"[{'|'.join(choices)}]" if choices else None,
        help=text,
        show_default=shown,
        shell_complete=complete,
    )


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given; for the others the function behind the command has defaults."""
    source = click.get_current_context().get_parameter_source
    return {n: value for n, value in options.items() if source(n) is not ParameterSource.DEFAULT}


def on_stderr_progress() -> "Progress":
    """Progress for people; imported late, as `graft --help` needs none."""
    from graft.utils.progress import on_stderr

    return on_stderr()
