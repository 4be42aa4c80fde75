"""What one client may take, and what all may take together: refused in time, and released."""

import io
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

import pytest
from PIL import Image

from graft.cli.serve_commands import LIMITS
from graft.errors import UsageError
from graft.serve.connection import can_be_refused
from graft.serve.limits import Limits

HEAD = "POST /v1/models/digits:predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"


def photo(width, height, kind="JPEG"):
    file = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(file, kind)
    return file.getvalue()


def raw(port, *sent, wait=0.0, timeout=20):
    """Send bytes on a connection, with pauses between; all that comes back until it is closed."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
        for number, part in enumerate(sent):
            if number:
                time.sleep(wait)
            connection.sendall(part if isinstance(part, bytes) else part.encode())
        came = b""
        try:
            while more := connection.recv(65536):
                came += more
        except ConnectionResetError:
            pass
        return came


@pytest.fixture(scope="module")
def tight(server_of, finished):
    """A server with small limits, and its client."""
    limits = {"upload_megabytes": 0.05, "queue_megabytes": 0.2, "megapixels": 2}
    limits |= {"queue_images": 4, "images": 3, "queue_megapixels": 4, "connections": 40}
    limits |= {"header_seconds": 1, "body_seconds": 1, "deadline": 20}
    with server_of({"digits": finished}, **limits) as (client, server):
        yield client, server


@pytest.fixture
def stuck(tight):
    """The server of `tight` whose engine waits until the event that comes with it is set."""
    client, server = tight
    engine, go = server.service.engine, threading.Event()
    decode = engine._decode

    def waits(ticket, index):
        go.wait(30)
        decode(ticket, index)

    engine._decode = waits
    yield client, server, go
    go.set()
    engine._decode = decode


def test_limits_that_contradict_each_other_are_refused():
    for wrong in ({"images": 200}, {"megapixels": 80, "queue_megapixels": 60}, {"megapixels": 100}):
        with pytest.raises(UsageError):
            Limits(**wrong)


def test_too_many_bytes_are_refused_before_they_are_read(tight):
    client, server = tight
    reply = client.predict(b"x" * 60_000)
    assert reply.status == 413
    assert "at most 0.05 MB" in reply.json["error"]
    # It says that it will send a gigabyte and waits to be told to go on.
    head = HEAD + "Expect: 100-continue\r\nConnection: close\r\nContent-Length: 1000000000\r\n\r\n"
    began = time.monotonic()
    assert raw(client.port, head).startswith(b"HTTP/1.1 413 ")
    assert time.monotonic() - began < 8
    # Without a length, it is cut off where it goes beyond.
    chunk = b"2000\r\n" + b"x" * 0x2000 + b"\r\n"
    chunked = raw(
        client.port, HEAD + "Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n", *[chunk] * 8
    )
    assert chunked.startswith(b"HTTP/1.1 413 ")
    assert server.service.admission.held_bytes == 0


@pytest.mark.parametrize("length", ["-1", "1e3", "99999999999999999999", "+5", "5, 6", ""])
def test_a_lying_length_ends_in_a_refusal(tight, length):
    came = raw(tight[0].port, HEAD + f"Content-Length: {length}\r\nConnection: close\r\n\r\nhello")
    assert came.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 413 "))


def test_too_many_pixels_or_images_are_refused_by_their_headers(tight, make_form):
    client, _ = tight
    assert client.predict(photo(1500, 1400)).status == 413
    many = client.predict_form([("a", photo(8, 8))] * 4)
    assert many.status == 413
    together = client.predict_form([("a", photo(1400, 1400, "PNG"))] * 3)
    assert together.status == 413
    assert "megapixels together" in together.json["error"]
    batch = client.predict_form([("big", photo(1500, 1400)), ("small", photo(8, 8))]).json
    assert "more than 2 megapixels" in batch["predictions"][0]["problem"]
    assert batch["predictions"][1]["best_guess"]


def test_a_jpeg_of_a_thousand_scans_is_not_decoded(tight):
    data = photo(64, 64)
    scan = data.index(b"\xff\xda")
    file = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(file, "JPEG", progressive=True)
    assert file.getvalue().count(b"\xff\xda") > 3
    assert tight[0].predict(file.getvalue()).status == 200
    reply = tight[0].predict(data[:-2] + data[scan : scan + 14] * 1000 + data[-2:])
    assert reply.status == 422
    assert "1,001 scans" in reply.json["error"]


def test_a_client_that_is_slow_with_its_headers_is_closed_upon(tight):
    for sent in ("", "GET /healthz HT"):
        began = time.monotonic()
        assert raw(tight[0].port, sent) == b""
        assert 0.5 < time.monotonic() - began < 5


def test_headers_that_drip_are_cut_off(tight):
    """Also behind a request that was answered: no byte more buys time."""
    good = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.create_connection(("127.0.0.1", tight[0].port), timeout=10) as connection:
        connection.sendall(good.encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        began = time.monotonic()
        with pytest.raises((ConnectionError, BrokenPipeError)):  # noqa: PT012
            for _ in range(100):
                connection.sendall(b"G")
                time.sleep(0.05)
        assert time.monotonic() - began < 4


def test_a_body_that_drips_is_told_408(tight):
    parts = [HEAD + "Content-Length: 1000\r\n\r\n", *["x"] * 3]
    began = time.monotonic()
    assert raw(tight[0].port, *parts, wait=0.3).startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - began < 5


def test_a_full_queue_is_told_429_at_once_and_holds_again_what_it_did(stuck):
    client, server, go = stuck
    data = photo(100, 100)
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(client.predict, data) for _ in range(4)]
        while server.service.admission.images < 4:
            time.sleep(0.01)
        began = time.monotonic()
        reply = client.predict(data)
        assert time.monotonic() - began < 2
        assert reply.status == 429
        assert int(reply.headers["retry-after"]) >= 1
        assert client.get("/healthz").status == 200
        assert client.metric("graft_queue_images") == 4
        assert client.metric("graft_queue_megapixels") == pytest.approx(0.04)
        go.set()
        assert {one.result().status for one in waiting} == {200}
    assert client.predict(data).status == 200
    assert client.metric('graft_refused_total{reason="queue_full"}') >= 1


def test_megapixels_fill_the_queue_too(stuck):
    client, server, go = stuck
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(client.predict, photo(1400, 1400)) for _ in range(2)]
        while server.service.admission.images < 2:
            time.sleep(0.01)
        refused = client.predict(photo(400, 400))
        assert refused.status == 429
        assert "4 megapixels" in refused.json["error"]
        go.set()
        assert {one.result().status for one in waiting} == {200}


def test_bodies_fill_the_memory_for_uploads(tight):
    client, server = tight
    head = HEAD + "Content-Length: 45000\r\n\r\n"
    held = [socket.create_connection(("127.0.0.1", client.port)) for _ in range(5)]
    for connection in held:
        connection.sendall(head.encode() + b"x" * 44_000)
    came = b"".join(connection.recv(1000)[:13] for connection in held)
    for connection in held:
        connection.close()
    assert b"429" in came, "the fifth does not fit into 0.2 MB"
    assert b"408" in came
    while server.service.admission.held_bytes:
        time.sleep(0.01)


def test_a_client_that_has_gone_is_not_computed_for(stuck, wait_until):
    client, server, go = stuck
    before = client.metric('graft_images_total{model="digits",outcome="label"}')
    data = photo(50, 50)
    with socket.create_connection(("127.0.0.1", client.port)) as connection:
        connection.sendall(HEAD.encode() + b"Content-Length: %d\r\n\r\n" % len(data) + data)
        wait_until(lambda: server.service.admission.images == 1)
    wait_until(
        lambda: (
            client.metric(
                'graft_requests_total{model="digits",route="/v1/models/{name}:predict",status="499"}'
            )
            >= 1
        )
    )
    go.set()
    wait_until(lambda: server.service.admission.images == 0)
    assert client.metric('graft_images_total{model="digits",outcome="label"}') == before


def test_an_answer_that_takes_too_long_is_told_504(server_of, finished, digit_files):
    with server_of({"digits": finished}, deadline=0.3) as (client, server):
        engine = server.service.engine
        decode = engine._decode
        engine._decode = lambda *given: (time.sleep(1), decode(*given))
        assert client.predict(digit_files[0].read_bytes()).status == 504
        engine._decode = decode
        assert client.predict(digit_files[0].read_bytes()).status == 200


def test_requests_behind_one_another_on_a_connection_are_all_answered(client, digit_files):
    data = digit_files[0].read_bytes()
    one = HEAD.encode() + b"Content-Length: %d\r\n" % len(data)
    many = (one + b"\r\n" + data) * 3 + one + b"Connection: close\r\n\r\n" + data
    assert raw(client.port, many).count(b"HTTP/1.1 200 ") == 4


def test_more_connections_than_allowed_get_503(server_of, finished):
    with server_of({"digits": finished}, connections=3) as (client, _):
        held = [socket.create_connection(("127.0.0.1", client.port)) for _ in range(3)]
        time.sleep(0.2)
        assert raw(client.port, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").startswith(
            b"HTTP/1.1 503 "
        )
        for connection in held:
            connection.close()
        time.sleep(0.2)
        assert client.get("/healthz").status == 200


def test_the_short_way_to_429_is_taken_by_whole_plain_requests_only():
    whole = HEAD.encode() + b"Content-Length: 3\r\n\r\nabc"
    assert can_be_refused(whole)
    for other in (
        whole[:-1],
        whole + b"d",
        whole.replace(b"POST", b"GET "),
        whole.replace(b":predict", b":reload"),
        whole.replace(b"Length: 3", b"Length: 3\r\nContent-Length: 3"),
        whole.replace(b"Length: 3", b"Length: +3"),
        whole.replace(b"Host: x", b"Transfer-Encoding: chunked"),
        whole.replace(b"Host: x", b"X-Request-Id: 7"),
        b"POST /v1/models/digits:predict HTTP/1.1\r\n",
    ):
        assert not can_be_refused(other)


def test_both_ways_to_429_say_the_same(stuck):
    client, server, go = stuck
    data = photo(100, 100)
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(client.predict, data) for _ in range(4)]
        while server.service.admission.images < 4:
            time.sleep(0.01)
        body = b"Content-Length: %d\r\n" % len(data) + b"\r\n" + data
        with socket.create_connection(("127.0.0.1", client.port)) as connection:
            for _ in range(3):
                connection.sendall(HEAD.encode() + body)
                short = connection.recv(65536)
        long = raw(client.port, HEAD.encode() + b"Connection: close\r\n" + body)
        go.set()
        assert {one.result().status for one in waiting} == {200}
    names = []
    for reply in (short, long):
        head, _, text = reply.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
        assert b"nothing more is accepted" in text
        names.append({line.partition(b":")[0].lower() for line in head.split(b"\r\n")[1:]})
    assert names[0] | {b"date", b"connection"} == names[1]


def test_the_options_state_the_defaults_of_the_limits():
    told = {name: usual for name, (_, _, usual) in LIMITS.items()}
    assert told == asdict(Limits())
