import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

GRAFT = Path(sys.executable).parent / "graft"


def completed(*words):
    """What is offered for the last of these words, as (kind, text), by graft itself."""
    asked = {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run(
        [sys.executable, "-X", "importtime", GRAFT],
        env=os.environ | asked | {"_GRAFT_COMPLETE": "bash_complete"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert loaded >= {"graft", "click"}
    assert loaded.isdisjoint({"torch", "timm", "numpy", "openvino", "rich", "PIL"})
    return [tuple(line.split(",")) for line in done.stdout.splitlines()]


def test_commands_are_completed():
    assert completed("graft", "tr") == [("plain", "train")]
    assert ("plain", "doctor") in completed("graft", "")


def test_options_are_completed_those_of_the_settings_too():
    assert completed("graft", "train", "--backe") == [("plain", "--backend")]
    assert completed("graft", "predict", "run", "--near") == [("plain", "--nearest")]


@pytest.mark.parametrize("command", ["train", "check"])
def test_the_choices_of_an_option_are_completed(command):
    assert completed("graft", command, "--backend", "o") == [("plain", "openvino")]


def test_settings_and_models_are_completed():
    assert completed("graft", "train", "--schedule", "p") == [("plain", "plateau")]
    assert completed("graft", "train", "--model", "base") == [("plain", "base_cnn")]
    assert completed("graft", "train", "--model", "runs/x") == [("file", "runs/x")]


@pytest.mark.parametrize(
    "words",
    [
        ("check", ""),
        ("check", "photos/", "--html", ""),
        ("train", "photos/", "--out", ""),
        ("evaluate", "runs/birds", ""),
        ("predict", ""),
        ("predict", "runs/birds", "a.jpg", ""),
        ("compare", "runs/a", ""),
        ("demo", "--out", ""),
    ],
    ids=" ".join,
)
def test_paths_are_completed_by_the_shell(words):
    assert [kind for kind, _ in completed("graft", *words)] == ["file"]


def in_shell(shell, *arguments):
    if not shutil.which(shell):
        pytest.skip(f"no {shell} here")
    path = f"{GRAFT.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [shell, *arguments],
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_script_for_bash_completes_in_bash():
    call = "COMP_WORDS=(graft tr); COMP_CWORD=1; _graft_completion graft; echo ${COMPREPLY[@]}"
    script = f"source <(graft completion bash) && complete -p graft && {call}"
    registered, answer = in_shell("bash", "--norc", "-c", script).splitlines()
    assert registered.startswith("complete ")
    assert registered.endswith("-F _graft_completion graft")
    assert answer == "train"


def test_the_script_for_zsh_registers_itself_in_zsh():
    script = "autoload -U compinit; compinit -u; source <(graft completion zsh)"
    assert (
        in_shell("zsh", "-f", "-c", f"{script}; echo ${{_comps[graft]}}") == "_graft_completion\n"
    )


def test_the_script_for_fish_completes_in_fish():
    script = "graft completion fish | source; complete -C 'graft tr'"
    assert in_shell("fish", "--no-config", "-c", script).split()[0] == "train"


def test_another_shell_is_wrong_usage(graft_here):
    ended = graft_here("completion", "csh")
    assert (ended.code, ended.out) == (2, "")
    assert "'bash', 'zsh', 'fish'" in ended.err
