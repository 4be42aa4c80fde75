"""The lines that repeat a run: parsed by the commands themselves, and run."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st

import graft
from graft.cli.main import main
from graft.cli.options import given as given_options
from graft.errors import ModelError, UsageError
from graft.runs.repeat_lines import changed_settings

SETTINGS = {
    "model": st.sampled_from(["base_cnn", "resnet18", "local-dir:my net"]),
    "image_size": st.sampled_from([None, 32]),
    "augment": st.sampled_from([None, "none", "strong"]),
    "flip": st.booleans(),
    "epochs": st.sampled_from([None, 1, 7]),
    "learning_rate": st.sampled_from([None, 3e-4]),
    "label_smoothing": st.sampled_from([0.1, 0.0]),
    "group_by": st.sampled_from([None, "folder", r"(\d+) $x"]),
    "follow_links": st.booleans(),
    "seed": st.sampled_from([42, 0, 7]),
}


def of_step(lines, step):
    return next(line for line in lines if line.step == step)


def parsed(command):
    """What a command of graft is given: its arguments and the options that are not the defaults."""
    words = shlex.split(command)
    assert words[0] == "graft"
    called = main.get_command(None, words[1])
    with called.make_context(words[1], words[2:]) as context:
        return given_options(context.params)


def changed(run, folder, **settings):
    """What is read of a run, saying that it was made with other settings."""
    folder.mkdir(exist_ok=True)
    config = json.loads((run / "config.json").read_text())
    config["settings"] |= settings.pop("settings", {})
    (folder / "config.json").write_text(json.dumps(config | settings))
    return folder


@how(deadline=None, max_examples=40)
@given(st.fixed_dictionaries(SETTINGS))
def test_command_and_python_give_the_settings_that_the_run_was_made_with(
    finished, tmp_path_factory, settings
):
    folder = tmp_path_factory.getbasetemp() / "repeated"
    run = changed(finished, folder, settings=settings, source="my photos/birds")
    line = of_step(graft.repeat_lines(run), "train")
    made = dict(json.loads((run / "config.json").read_text())["settings"])

    def train(source, *, out, **given):
        assert (source, out) == ("my photos/birds", f"{folder}-again")
        train_config, split_config = graft.TrainConfig(), graft.SplitConfig()
        return train_config.to_json() | split_config.to_json() | given

    own = parsed(line.command)
    assert train(**{name: value for name, value in own.items() if name != "as_json"}) == made
    scope = {"graft": SimpleNamespace(train=train)}
    exec(line.python, scope)
    assert scope["run"] == made


def test_what_was_not_changed_is_not_said(finished):
    assert changed_settings(graft.TrainConfig().to_json() | graft.SplitConfig().to_json()) == {}
    line = of_step(graft.repeat_lines(finished), "train")
    assert "patience" not in line.command
    assert "--model base_cnn" in line.command


def test_every_command_is_one_that_graft_knows(finished):
    for line in graft.repeat_lines(finished, max_error="2%"):
        if line.command:
            parsed(line.command)
        compile(line.python, line.step, "exec")


def test_a_file_whose_name_begins_with_a_dash_is_no_option(finished):
    line = of_step(graft.repeat_lines(finished, image="-x.jpg"), "predict")
    assert parsed(line.command)["paths"] == ("-x.jpg",)


def test_the_python_asks_with_the_threshold(finished, digits):
    image = str(sorted((digits / "1").iterdir())[0])
    line = of_step(graft.repeat_lines(finished, image=image, min_probability=1.0), "predict")
    said = []
    exec(line.python, {"graft": graft, "print": said.append})
    assert said == [graft.load(finished).predict(image, graft.Policy(min_probability=1.0))]


def test_the_served_run_is_asked_by_its_name(finished, tmp_path):
    folder = tmp_path / "my birds"
    shutil.copytree(finished, folder)
    line = of_step(graft.repeat_lines(folder), "serve")
    assert "/v1/models/my%20birds:predict" in line.python
    assert parsed(line.command)["runs"] == (str(folder),)


def test_what_cannot_be_said_is_told_in_one_line(finished, tmp_path):
    with pytest.raises(UsageError, match="leave out the other"):
        graft.repeat_lines(finished, max_error="2%", min_probability=0.5)
    with pytest.raises(ModelError, match="lacks the source or the resolved settings"):
        graft.repeat_lines(changed(finished, tmp_path / "run", resolved={}))


@pytest.mark.slow
def test_command_and_python_make_the_same_run_again(finished, tmp_path):
    expected = (finished / "predictions.csv").read_bytes()
    scripts = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    line = of_step(graft.repeat_lines(finished, out=tmp_path / "shell"), "train")
    subprocess.run(line.command, shell=True, check=True, env=environment, capture_output=True)
    assert (tmp_path / "shell" / "predictions.csv").read_bytes() == expected
    line = of_step(graft.repeat_lines(finished, out=tmp_path / "python"), "train")
    program = f"import graft\n{line.python}"
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    assert (tmp_path / "python" / "predictions.csv").read_bytes() == expected
