"""From warm-up to the stop: keys, several runs, runs that are swapped, signals."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from graft.errors import ModelError, UsageError
from graft.serve.served_runs import named_paths

KEY = "0123456789abcdef0123"


def like(one, other):
    """One answer, but for what half precision makes of it in a batch or alone."""
    pairs = zip(one["probabilities"].values(), other["probabilities"].values(), strict=True)
    return one["label"] == other["label"] and max(abs(a - b) for a, b in pairs) < 5e-3


def swap(folder, run):
    """Put a copy of a run in a folder's place, as one should: by renaming."""
    new, old = folder.with_name("new"), folder.with_name("old")
    shutil.copytree(run, new)
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def test_it_listens_at_once_and_is_ready_after_the_warm_up(
    server_of, finished, monkeypatch, wait_until, digit_files
):
    from graft.serve import served_runs

    go, warm = threading.Event(), served_runs.warm_up
    monkeypatch.setattr(served_runs, "warm_up", lambda run: go.wait(30) and warm(run))
    with server_of({"digits": finished}, warm=False) as (client, server):
        wait_until(lambda: server.started)
        assert client.get("/healthz").status == client.get("/v2/health/live").status == 200
        assert client.get("/readyz").status == client.get("/v2/health/ready").status == 503
        reply = client.predict(digit_files[0].read_bytes())
        assert (reply.status, reply.headers["retry-after"]) == (503, "1")
        go.set()
        wait_until(lambda: client.get("/readyz").status == 200)
        assert client.predict(digit_files[0].read_bytes()).status == 200


def test_with_a_key_only_health_and_the_description_are_open(server_of, finished, digit_files):
    data = digit_files[0].read_bytes()
    with server_of({"secret-model": finished}, key=KEY) as (client, _):
        for path in ("/healthz", "/readyz", "/v2/health/ready", "/docs", "/openapi.json"):
            reply = client.get(path)
            assert reply.status == 200
            assert b"secret-model" not in reply.body
        for path in ("/v1/models", "/metrics", "/v2", "/v2/models/secret-model", "/nowhere"):
            assert client.get(path).status == 401
            assert client.get(path, Authorization=f"Bearer {KEY[:-1]}").status == 401
        assert client.predict(data).headers["www-authenticate"] == "Bearer"
        assert client.predict(data, X_API_Key=KEY + "é").status == 401
        assert client.predict(data, Authorization=f"Bearer {KEY}").status == 200
        assert client.predict(data, X_API_Key=KEY).status == 200
        assert client.get("/metrics", X_API_Key=KEY).status == 200


def test_pages_of_other_sites_may_not_send_images(client, digit_files):
    data = digit_files[0].read_bytes()
    assert client.predict(data, Sec_Fetch_Site="cross-site").status == 403
    assert client.predict(data, Sec_Fetch_Site="same-origin").status == 200


def test_several_runs_answer_for_themselves(server_of, finished, frozen_run, digit_files):
    data = digit_files[0].read_bytes()
    with server_of({"a": finished, "b": frozen_run}) as (client, _):
        shown = client.get("/v1/models").json["models"]
        assert [one["name"] for one in shown] == ["a", "b"]
        assert shown[0]["sha256"] != shown[1]["sha256"]
        with ThreadPoolExecutor(8) as pool:
            paths = [f"/v1/models/{name}:predict" for name in "ab" * 10]
            sent = pool.map(lambda p: client.ask("POST", p, data, Content_Type="image/png"), paths)
            answers = [reply.json for reply in sent]
        assert all(like(one, answers[i % 2]) for i, one in enumerate(answers))
        assert not like(answers[0], answers[1])


def test_runs_that_do_not_fit_into_memory_are_refused(server_of, finished):
    with server_of({"digits": finished}, memory=1_000_000, warm=False) as (_, server):
        server_thread_ends = time.monotonic() + 30
        while not server.service.failure and time.monotonic() < server_thread_ends:
            time.sleep(0.05)
        assert isinstance(server.service.failure, ModelError)
        assert "at most 1 MB are allowed" in str(server.service.failure)


def test_a_run_is_swapped_without_a_lost_or_a_wrong_answer(
    server_of, finished, frozen_run, tmp_path, digit_files
):
    folder = tmp_path / "digits"
    swap(folder, finished)
    data, named = digit_files[0].read_bytes(), {"X_API_Key": KEY}
    with server_of({"digits": folder}, key=KEY) as (client, server):
        path = "/v1/models/digits:reload"
        before = client.predict(data, **named).json
        reply = client.ask("POST", path, **named)
        assert (reply.status, reply.json["changed"]) == (200, False)
        replies, ended = [], threading.Event()

        def asks():
            while not ended.is_set():
                replies.append(client.predict(data, **named))

        threads = [threading.Thread(target=asks) for _ in range(4)]
        for thread in threads:
            thread.start()
        for run in (frozen_run, finished, frozen_run):
            swap(folder, run)
            reply = client.ask("POST", path, **named)
            assert (reply.status, reply.json["changed"]) == (200, True)
            time.sleep(0.2)
        ended.set()
        for thread in threads:
            thread.join()
        after = client.predict(data, **named).json
        assert {reply.status for reply in replies} == {200}
        assert not like(before, after)
        assert all(like(reply.json, before) or like(reply.json, after) for reply in replies)
        (folder / "model.json").write_text("{")
        assert client.ask("POST", path, **named).status == 409
        shutil.rmtree(folder)
        refused = client.ask("POST", path, **named)
        assert refused.status == 409
        assert "the old one goes on" in refused.json["error"]
        assert like(client.predict(data, **named).json, after)
        assert client.get("/readyz").status == 200
        assert client.metric("graft_queue_images") == 0 == server.service.admission.images


def test_without_a_key_nothing_is_reloaded_over_http(client):
    assert client.ask("POST", "/v1/models/digits:reload").status == 403


def test_names_of_runs(tmp_path):
    link = tmp_path / "current"
    (tmp_path / "run-7").mkdir()
    link.symlink_to("run-7")
    assert named_paths([str(link)]) == {"current": link}
    assert named_paths([f"birds={link}", str(tmp_path / "run-7")]).keys() == {"birds", "run-7"}
    for wrong in (["a/x", "b/x"], ["b c"], ["=x"], ["é"], [":predict=x"]):
        with pytest.raises(UsageError, match="NAME="):
            named_paths(wrong)


def test_a_stop_finishes_what_was_accepted_and_leaves_nothing(
    process_of, finished, digit_files, tmp_path
):
    places = {name: str(tmp_path) for name in ("TMPDIR", "TMP", "TEMP")}
    served = process_of(finished, "--drain-seconds", "0.3", **places)
    data = digit_files[0].read_bytes()
    with ThreadPoolExecutor(8) as pool:
        lost = []

        def asks():
            answered = 0
            while True:
                try:
                    status = served.client.predict(data).status
                except ConnectionRefusedError:
                    return answered
                except OSError as error:  # its request was cut off
                    lost.append(error)
                    return answered
                if status == 503:
                    return answered
                answered += status == 200

        asking = [pool.submit(asks) for _ in range(8)]
        time.sleep(1)
        code, log = served.stop()
        answered = sum(one.result() for one in asking)
    assert code == 0
    assert log[-1]["event"] == "stopped"
    assert log[-1]["accepted"] == log[-1]["finished"] == answered > 0
    assert not lost
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConnectionRefusedError):
        served.client.get("/healthz")


def test_signals_of_the_terminal_and_of_the_house(
    process_of, finished, frozen_run, tmp_path, wait_until, digit_files
):
    folder = tmp_path / "digits"
    swap(folder, finished)
    served = process_of(folder, GRAFT_API_KEY=KEY)
    version = served.client.get("/v1/models", X_API_Key=KEY).json["models"][0]["version"]
    swap(folder, frozen_run)
    served.process.send_signal(signal.SIGHUP)
    wait_until(
        lambda: (
            served.client.get("/v1/models", X_API_Key=KEY).json["models"][0]["version"] != version
        )
    )
    evil = "\x1b]0;owned\x07"
    served.client.predict_form([(evil, digit_files[0].read_bytes())], X_API_Key=KEY)
    socket_to = socket.create_connection(("127.0.0.1", served.client.port))
    socket_to.sendall(b"GET /%1b%5b31m HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert b" 401 " in socket_to.recv(1000)
    socket_to.close()
    code, log = served.stop(signal.SIGINT)
    assert code == 0
    told = [line["event"] for line in log]
    assert "reloaded" in told
    text = json.dumps(log)
    assert KEY not in text
    assert "owned" not in text
    assert all(line["time"].endswith("Z") and line["level"] for line in log)
    requests = [line for line in log if line["event"] == "request"]
    assert {"id", "method", "path", "status", "seconds"} <= requests[-1].keys()


def test_what_cannot_be_served_is_one_line(graft_here, finished, tmp_path, monkeypatch):
    def told(*arguments):
        ended = graft_here("serve", *arguments)
        assert ended.err.count("\n") == 1, ended.err
        return ended.code, ended.err

    code, err = told(tmp_path / "none")
    assert code == 4
    assert "expected a finished run" in err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, err = told(finished, "--port", taken.getsockname()[1])
        assert code == 2
        assert "cannot be used" in err
    short = tmp_path / "key"
    short.write_text("secret\n")
    for wrong in (short, tmp_path / "none"):
        code, err = told(finished, "--api-key-file", wrong)
        assert code == 2
        assert "secret" not in err
    assert told(finished, "--max-images", 500)[0] == 2
    assert told(finished, "--max-error", "0.0001%")[0] == 2
    assert told(finished, finished)[0] == 2
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    from graft.cli import serve_commands

    monkeypatch.setattr(serve_commands, "NEEDED", ("uvicorn_of_nobody",))
    code, err = told(finished)
    assert code == 4
    assert "pip install 'graft[serve]'" in err


def test_an_open_host_without_a_key_is_warned_of(finished):
    graft = Path(sys.executable).parent / "graft"
    command = [graft, "serve", finished, "--host", "0.0.0.0", "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    ) as process:
        process.stdout.readline()
        process.terminate()
        _, err = process.communicate(timeout=60)
    assert "warning: http://0.0.0.0:" in err
    assert "--api-key-file" in err
    assert f"loading {finished.name} from {finished} …\n" in err


def test_every_limit_has_an_option_and_every_option_is_a_limit():
    from dataclasses import fields

    from graft.cli.serve_commands import LIMITS
    from graft.serve.limits import Limits

    assert list(LIMITS) == [field.name for field in fields(Limits)]
