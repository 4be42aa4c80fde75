"""Whatever is sent, good requests go on being answered, and rightly."""

import io
import random
import socket
import struct
import threading
import zlib

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from graft.serve.limits import Limits
from graft.serve.problems import ProblemError
from graft.serve.uploads import clean_name, parse

FEW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def bomb():
    """A PNG that says 60,000 × 60,000."""

    def chunk(name, data):
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    rows = chunk(b"IDAT", zlib.compress(b"\0" * 1_000_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + rows + chunk(b"IEND", b"")


def hostile(good, rng, number):
    data = rng.choice(good)
    page = b"<html><script>alert(1)</script></html>"
    return [
        data[: rng.randrange(len(data))],
        bytes(b if rng.random() < 0.95 else rng.randrange(256) for b in data),
        bomb(),
        data + page,
        page + data,
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"GIF89a" + rng.randbytes(50),
        b"",
    ][number % 8]


def test_good_requests_pass_while_hostile_ones_are_sent(client, digit_files, make_form):
    good = [file.read_bytes() for file in digit_files]
    file = io.BytesIO()
    Image.open(digit_files[0]).convert("RGB").save(file, "JPEG")
    spoiled, expected = [*good, file.getvalue()], [client.predict(data).json for data in good]
    statuses = []

    def attacks(seed):
        rng = random.Random(seed)
        for number in range(60):
            data = hostile(spoiled, rng, number)
            if number % 3 == 0:
                statuses.append(client.predict(data).status)
            elif number % 3 == 1:
                statuses.append(client.predict_form([("../../x\r\n\x00", data)] * 3).status)
            else:  # gone in the middle
                body, kind = make_form([("a", data)])
                with socket.create_connection(("127.0.0.1", client.port)) as cut:
                    cut.sendall(
                        f"POST {client.predict_path} HTTP/1.1\r\nHost: x\r\nContent-Type: "
                        f"{kind}\r\nContent-Length: {len(body) + 9}\r\n\r\n".encode()
                        + body
                    )

    threads = [threading.Thread(target=attacks, args=[seed]) for seed in range(3)]
    for thread in threads:
        thread.start()
    for number in range(60):
        reply = client.predict(good[number % len(good)])
        assert reply.status == 200
        assert reply.json["label"] == expected[number % len(good)]["label"]
    for thread in threads:
        thread.join()
    assert len(statuses) == 120
    assert set(statuses) <= {200, 400, 413, 422}


@FEW
@given(
    st.binary(max_size=300),
    st.sampled_from(["image/png", "application/json", "multipart/form-data; boundary=e", "", "a/b"])
    | st.text(st.characters(max_codepoint=255), max_size=30),  # as headers are decoded
)
def test_any_body_of_any_type_is_images_or_a_problem(body, kind):
    found = problem = None
    try:
        found = parse(body, kind, Limits())
    except ProblemError as error:
        problem = error
    if problem is not None:
        assert problem.status in (400, 413, 415)
        assert "\n" not in problem.message
    else:
        assert found.images
        assert all(image.problem or image.megapixels > 0 for image in found.images)


@FEW
@given(
    st.lists(st.tuples(st.text("ab/.\\\x00\x1b é", max_size=9), st.binary(max_size=99)), max_size=5)
)
def test_a_form_gives_back_the_bytes_of_each_file(files):
    parts = [
        b'--edge\r\ncontent-disposition: form-data; name="x"; filename="%s"\r\n\r\n%s\r\n'
        % (name.replace("\\", "").replace("\x00", "").encode(), data)
        for name, data in files
        if b"\r\n--edge" not in data
    ]
    body = b"".join(parts) + b"--edge--\r\n"
    wanted = [data for _, data in files if b"\r\n--edge" not in data]
    try:
        found = parse(body, "multipart/form-data; boundary=edge", Limits())
    except ProblemError:
        assert not wanted or any("\x1b" in name for name, _ in files)
    else:
        assert [image.data for image in found.images] == wanted


@given(st.text())
def test_a_clean_name_is_printable(name):
    assert clean_name(name).isprintable()
    assert len(clean_name(name)) <= 200
