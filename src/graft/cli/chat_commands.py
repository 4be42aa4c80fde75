"""Commands to talk with a classifier: chat, and mcp for assistants."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click

from graft.cli.answers import print_json, print_line
from graft.cli.needed_packages import PAGE, require_packages
from graft.cli.options import JSON, files

if TYPE_CHECKING:
    from graft.chat.answer import Answer
    from graft.chat.conversation import Chat

ENDS = ("", "exit", "quit", "bye")


@click.command()
@click.argument("run_folder", metavar="RUN", shell_complete=files)
@click.argument("images", metavar="[IMAGE]...", nargs=-1, shell_complete=files)
@click.option("--ask", "questions", multiple=True, help="Ask this, print the answer and end.")
@click.option("--serve", is_flag=True, help="Chat on a page in the browser, on this machine only.")
@click.option(
    "--port", default=0, type=click.IntRange(0, 65535), help="Port of the page; 0 takes a free one."
)
@click.option(
    "--understand",
    type=click.Choice(["auto", "minilm", "tfidf"]),
    default="auto",
    show_default=True,
    help="How questions are understood: by sentence embeddings (graft[chat]) or by their words.",
)
@click.option("--llm", help="Address of an OpenAI-compatible API, whose model does the talking.")
@click.option("--llm-model", help="Name of its model.")
@JSON
def chat(
    run_folder: str,
    images: tuple[str, ...],
    questions: tuple[str, ...],
    serve: bool,
    port: int,
    understand: str,
    llm: str | None,
    llm_model: str | None,
    as_json: bool,
) -> None:
    """Talk with a classifier about images, about itself and about how it learned.

    Answers are computed when you ask, and say how they are known. A follow-up question, such as
    "and the second one?", is about the one before. --ask may be repeated; without it questions are
    read from the terminal, or one a line from stdin.

    With --json, one object a line: intent (null where there is no answer), text and evidence.
    With --llm the key of the API, if it needs one, is read from $GRAFT_LLM_KEY.
    """
    from graft.chat.conversation import Chat

    if bool(llm) != bool(llm_model):
        raise click.UsageError("--llm and --llm-model go together")
    if serve:
        require_packages("chat --serve", PAGE)
    talk = Chat(run_folder, images, understanding=understand)  # type: ignore[arg-type]
    ask: Callable[[str], Answer] = talk.ask
    if llm and llm_model:
        from graft.chat.language_model import KEY, LanguageModel

        ask = LanguageModel(talk, llm, llm_model, os.environ.get(KEY, "")).ask
    if serve:
        _serve(talk, ask, port)
        return
    for question in questions or _typed(talk, as_json):
        answer = ask(question)
        if as_json:
            print_json(answer.to_json())
        else:
            _say(answer)


def _typed(talk: "Chat", as_json: bool) -> Iterator[str]:
    """Questions from the terminal with a prompt, or one a line from stdin."""
    if not sys.stdin.isatty():
        yield from (line.strip() for line in sys.stdin if line.strip())
        return
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  (arrow keys and history)
    subject = talk.subject
    for place in range(len(subject.images)):
        print_line(f"image {place + 1}: {subject.images[place]}", err=True)
    click.echo(
        f"You talk with run {subject.run.name}. Ask “What can you do?”; an empty line ends.",
        err=True,
    )
    while True:
        try:
            question = input("> ").strip()
        except EOFError:
            return
        if question.lower() in ENDS:
            return
        yield question


def _say(answer: "Answer") -> None:
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    from graft.utils.terminal import one_line

    style = "yellow" if answer.intent is None else ""
    said = "\n".join(map(one_line, answer.text.split("\n")))
    console = Console(highlight=False)
    console.print(Padding(Text(said, style=style), (0, 0, 1, 0)))


def _serve(talk: "Chat", ask: "Callable[[str], Answer]", port: int) -> None:
    from graft.app.chat_page_routes import chat_application
    from graft.app.local_server import LocalServer

    server = LocalServer(chat_application(talk.subject, ask), port)
    print_line(f"{server.address}  Ctrl-C ends it")
    server.serve_until_stopped()


@click.command()
@click.option(
    "--root",
    required=True,
    type=click.Path(exists=True, file_okay=False),
    shell_complete=files,
    help="The folder with runs and images; nothing outside it is read or written.",
)
def mcp(root: str) -> None:
    """Offer this folder's runs and images to an assistant, by the Model Context Protocol on stdio.

    Tools to check, train, predict, explain, evaluate, compare and ask. Nothing deletes, and
    training refuses a run folder that is there. Needs graft[mcp].
    """
    from importlib.util import find_spec

    from graft.errors import ModelError

    if find_spec("mcp") is None:
        raise ModelError(
            "graft mcp needs a package that is not installed; pip install 'graft[mcp]'"
        )
    from graft.mcp_server.server import serve

    serve(root)


COMMANDS: tuple[click.Command, ...] = (chat, mcp)
