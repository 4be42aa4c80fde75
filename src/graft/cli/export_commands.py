"""Commands that carry a run into other programs: export, and verify what was exported."""

import sys
from pathlib import Path
from typing import Any

import click

from graft.cli.answers import print_json, print_line
from graft.cli.options import JSON, files, on_stderr_progress
from graft.errors import ModelError
from graft.runs.folder import has_predictions

FORMATS = ("onnx", "openvino", "torch", "web", "hub-folder", "repository")
# What to do with the folder that was written.
_ALONE = "try it without graft: python {}/predict.py IMAGE"
NEXT = {
    "onnx": _ALONE,
    "openvino": _ALONE,
    "torch": _ALONE,
    "web": "open it: python -m http.server --bind 127.0.0.1 --directory {}, then "
    "http://localhost:8000",
    "hub-folder": "read {0}/README.md, then publish it: graft push {0} NAME",
    "repository": "serve it: tritonserver --model-repository={}",
}


@click.command()
@click.argument("run_folder", metavar="RUN", shell_complete=files)
@click.option(
    "--to", default="onnx", show_default=True, type=click.Choice(FORMATS), help="What to write."
)
@click.option("--out", shell_complete=files, help="The new folder.  [default: exports/RUN-TO]")
@click.option(
    "--square", is_flag=True, help="The model takes pixels of its own size, already resized."
)
@click.option("--int8", is_flag=True, help="Compute in 8 bits, if it is shown to be as good.")
@click.option("--half", is_flag=True, help="Store OpenVINO's weights in float16.")
@click.option("--offline", is_flag=True, help="web: lay the runtime beside the page.")
@click.option(
    "--license",
    "license_id",
    default="unknown",
    help="hub-folder: the license, such as apache-2.0.  [default: unknown]",
)
@click.option(
    "--images",
    multiple=True,
    shell_complete=files,
    help="Compare on these images instead of the run's own.",
)
@JSON
def export(
    run_folder: str,
    to: str,
    out: str | None,
    square: bool,
    int8: bool,
    half: bool,
    offline: bool,
    license_id: str,
    images: tuple[str, ...],
    as_json: bool,
) -> None:
    """Write a run's classifier as a file for other programs, and prove that it agrees.

    The model takes decoded images of any height and width, and gives calibrated probabilities,
    the OOD score and features; resize, crop and normalization are inside. Beside it: test vectors,
    preprocess.json, and predict.py, which needs no graft.

    web is a page that classifies in the browser; hub-folder is for graft push; repository is for
    Triton, OpenVINO Model Server and KServe.

    Before it gets its name, the file is compared with predict on 200 images of val and test and on
    odd sizes, in its own runtime. One that differs is refused with exit code 4.
    """
    from graft.export.write import export_run

    found = export_run(
        run_folder,
        to,
        out=out,
        square=square,
        int8=int8,
        half=half,
        images=images,
        offline=offline,
        license_id=license_id,
        progress=on_stderr_progress(),
    )
    if as_json:
        print_json(found)
        return
    for name, size in found["files"].items():
        print_line(f"{size / 1e6:10.3f} MB  {name}")
    print_line(f"written: {found['folder']}")
    if to in NEXT:
        print_line(NEXT[to].format(found["folder"]))
    if "parity" in found:
        click.echo(_sentence(found["parity"]))
    if "int8" in found:
        eight = found["int8"]
        accuracy, ends = eight["accuracy"], eight["difference"]
        click.echo(
            f"int8: accuracy {accuracy['int8']:.1%} against {accuracy['float']:.1%} on "
            f"{eight['images']} val images ({ends['low']:+.1%} to {ends['high']:+.1%}), "
            f"{eight['times_as_fast']:.1f} times as fast"
        )


@click.command()
@click.argument("file", metavar="FILE|RUN", shell_complete=files)
@click.argument("run_folder", metavar="[RUN]", required=False, shell_complete=files)
@click.option("--trust", is_flag=True, help="Read a .pt2 file, though it might run code.")
@JSON
def verify(file: str, run_folder: str | None, trust: bool, as_json: bool) -> None:
    """Check that an exported model says what its run says, or that a run is as graft wrote it.

    With RUN an exported file is compared on the run's images, as export does; without, on the
    test vectors beside it. Where FILE is a run folder, its files are held against their digests,
    their schemas and each other. Exit code 4 where something differs.
    """
    if run_folder is None and has_predictions(Path(file)):
        _verify_run(Path(file), as_json)
        return
    from graft.export.verify import verify_file

    found = verify_file(file, run_folder, trusted=trust, progress=on_stderr_progress())
    if as_json:
        print_json(found)
    else:
        for problem in found["problems"]:
            print_line(problem)
        if "parity" in found:
            click.echo(_sentence(found["parity"]))
        else:
            print_line(f"{found['file']} on its test vectors, by {found['runtime']}")
        click.echo("it differs" if found["problems"] else "it agrees")
    if found["problems"]:
        sys.exit(ModelError.exit_code)


def _verify_run(run: Path, as_json: bool) -> None:
    from graft.runs.digests import check

    problems = check(run)
    if as_json:
        print_json({"run": str(run), "problems": problems})
    else:
        for problem in problems:
            print_line(problem)
        click.echo("it differs" if problems else "it is whole, and as graft wrote it")
    if problems:
        sys.exit(ModelError.exit_code)


def _sentence(parity: dict[str, Any]) -> str:
    """The parity found, in words."""
    worst, accuracy = parity["probability"]["worst"], parity.get("accuracy")
    text = (
        f"{parity['runtime']} against {parity['compared_with']}, {parity['images']} images: "
        f"{parity['labels_changed']} labels and {parity['refusals_changed']} refusals change, "
        f"the worst probability is {worst:.1g} away"
    )
    if accuracy:
        text += f"; accuracy {accuracy['export']:.1%} against {accuracy['graft']:.1%}"
    if whole := parity.get("decoded_whole"):
        text += (
            f". Of {whole['images']} large JPEGs that are decoded whole instead of at a fraction, "
            f"{whole['labels_changed']} change their label (worst probability "
            f"{whole['probability']['worst']:.1g} away)"
        )
    return text


COMMANDS = (export, verify)
