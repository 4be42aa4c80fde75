"""A language model at an OpenAI-compatible address, played by a real server on this machine."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

import graft as package
from graft.chat.intents import INTENTS
from graft.chat.language_model import LanguageModel
from graft.errors import ModelError


@contextmanager
def api(replies):
    """A server that gives these replies in turn, and the requests that it got."""
    got = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append((self.path, dict(self.headers), json.loads(body)))
            status, reply = replies[min(len(got), len(replies)) - 1]
            text = reply if isinstance(reply, str) else json.dumps(reply)
            self.send_response(status)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", got
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def message(text=None, *calls):
    tools = [
        {
            "id": f"call_{i}",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(given)},
        }
        for i, (name, given) in enumerate(calls)
    ]
    said = {"role": "assistant", "content": text} | ({"tool_calls": tools} if tools else {})
    return 200, {"choices": [{"message": said}]}


@pytest.fixture
def chat(flower_run, two_images):
    return package.Chat(flower_run, two_images)


def test_its_words_are_marked_and_the_numbers_come_from_the_tools(chat):
    replies = [
        message(None, ("accuracy", {}), ("what_is_it", {"image": 2})),
        message("It is quite good."),
    ]
    with api(replies) as (url, got):
        answer = LanguageModel(chat, url, "tiny", "a key").ask("How good is it, and what is 2?")
    assert answer.text == (
        "Words of tiny; numbers from these tools: accuracy, what_is_it: It is quite good."
    )
    assert answer.intent == "accuracy"
    accuracy, image = answer.evidence["tools"]
    assert accuracy["evidence"] == chat.answer("accuracy", _nothing()).evidence
    assert image["evidence"]["image"] == str(chat.subject.images[1])
    path, headers, asked = got[1]
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == "Bearer a key"
    results = [each for each in asked["messages"] if each["role"] == "tool"]
    assert [json.loads(each["content"])["tool"] for each in results] == ["accuracy", "what_is_it"]


def _nothing():
    from graft.chat.subject import Asked

    return Asked()


def test_every_intent_is_a_tool_with_a_schema(chat, flower_run):
    with api([message("Hello.")]) as (url, got):
        LanguageModel(chat, url, "tiny").ask("Hello")
        alone = LanguageModel(package.Chat(flower_run), url, "tiny").tools()
    tools = {tool["function"]["name"]: tool["function"] for tool in got[0][2]["tools"]}
    assert set(tools) == set(INTENTS) - {"help"}
    assert tools["class_quality"]["parameters"]["properties"]["class"]["enum"] == (
        chat.subject.classes
    )
    assert tools["term"]["parameters"]["required"] == ["term"]
    assert all(tool["description"] for tool in tools.values())
    names = {tool["function"]["name"] for tool in alone}
    assert names == {name for name in INTENTS if not INTENTS[name].needs_image} - {"help"}


def test_words_without_a_tool_are_said_to_have_nothing_behind_them(chat):
    with api([message("About 99 %.")]) as (url, _):
        answer = LanguageModel(chat, url, "tiny").ask("How good?")
    assert answer.intent is None
    assert answer.text == "Words of tiny; no tool was used, so nothing backs them: About 99 %."


def test_impossible_calls_are_told_to_the_model_and_it_goes_on(chat):
    calls = [
        ("delete_everything", {}),
        ("what_is_it", {"image": 9}),
        ("class_quality", {"class": "car"}),
        ("what_if", {"change": "explode"}),
        ("show_filter", {"number": 999}),
        ("term", {"term": "trombone"}),
    ]
    with api([message(None, *calls), message("I cannot.")]) as (url, _):
        answer = LanguageModel(chat, url, "tiny").ask("?")
    assert all("problem" in each for each in answer.evidence["tools"])
    assert len(answer.evidence["tools"]) == len(calls)
    assert answer.intent is None


def test_the_conversation_goes_with_each_question(chat):
    with api([message("One."), message("Two.")]) as (url, got):
        model = LanguageModel(chat, url, "tiny")
        model.ask("first")
        model.ask("second")
    said = [each["content"] for each in got[1][2]["messages"][1:]]
    assert said == ["first", "One.", "second"]


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ((404, {"error": "no model"}), "404"),
        ((500, "broken"), "500"),
        ((200, "<html>"), "expected a chat completion"),
        ((200, {"choices": []}), "expected a chat completion"),
        ((200, {"choices": [{"message": None}]}), "expected a message"),
    ],
)
def test_a_server_that_fails_is_one_clear_line(chat, reply, words):
    with api([reply]) as (url, _), pytest.raises(ModelError, match=words) as failed:
        LanguageModel(chat, url, "tiny").ask("Hello")
    assert "\n" not in str(failed.value)


def test_no_server_and_no_address_are_one_clear_line(chat):
    for url in ("http://127.0.0.1:9/v1", "no address"):
        with pytest.raises(ModelError, match="did not answer"):
            LanguageModel(chat, url, "tiny").ask("Hello")


def test_a_model_that_only_calls_tools_is_stopped(chat):
    with api([message(None, ("accuracy", {}))]) as (url, got), pytest.raises(ModelError):
        LanguageModel(chat, url, "tiny").ask("?")
    assert len(got) == 6


def test_the_command_talks_through_the_model(flower_run, graft_here, monkeypatch):
    monkeypatch.setenv("GRAFT_LLM_KEY", "secret")
    with api([message(None, ("parameters", {})), message("Many.")]) as (url, got):
        ended = graft_here(
            *("chat", flower_run, "--llm", url, "--llm-model", "tiny", "--ask", "size?", "--json")
        )
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["evidence"]["words"] == "Many."
    assert got[0][1]["Authorization"] == "Bearer secret"
    ended = graft_here(
        *("chat", flower_run, "--llm", "http://127.0.0.1:9", "--llm-model", "m", "--ask", "hi")
    )
    assert ended.code == 4
    assert ended.err.count("\n") == 1
