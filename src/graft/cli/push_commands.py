"""The command that publishes a run: push."""

from pathlib import Path

import click

from graft.cli.options import files


@click.command()
@click.argument(
    "folder",
    type=click.Path(path_type=Path),
    shell_complete=files,
)
@click.argument("repository", metavar="REPO")
@click.option("--private", is_flag=True, help="Make the repository private, if it is new.")
def push(folder: Path, repository: str, private: bool) -> None:
    """Publish a folder of `graft export RUN --to hub-folder` on the model hub, as REPO.

    REPO is NAME or OWNER/NAME; it is made if it is not there. Uploads by huggingface_hub: log in
    with `hf auth login`, or set HF_TOKEN; HF_ENDPOINT names another hub.

    Prints the address of the commit.
    """
    from graft.export.hub_push import push as upload

    def warn(line: str) -> None:
        click.echo(f"graft: {line}", err=True)

    click.echo(upload(folder, repository, private=private, warn=warn))


COMMANDS: tuple[click.Command, ...] = (push,)
