"""What is answered is what `graft predict` says of the same files, however they are sent."""

import io
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image


def predicted(graft_here, run, files, *options):
    ended = graft_here("predict", run, *files, "--json", *options)
    assert ended.code == 0, ended.err
    return [json.loads(line) for line in ended.out.splitlines()]


def assert_same(answer, expected):
    """But for the path: the same object, probabilities as near as batches allow."""
    assert answer.keys() == expected.keys()
    assert answer["probabilities"] == pytest.approx(expected["probabilities"], abs=2e-3)
    assert answer["ood_score"] == pytest.approx(expected["ood_score"], abs=5e-3)
    for key in ("label", "best_guess", "prediction_set", "nearest"):
        assert answer[key] == expected[key]
    assert bool(answer["reason"]) == bool(expected["reason"])


def test_every_way_to_send_an_image_gets_the_answer_of_predict(
    client, graft_here, finished, digit_files, base64_of
):
    expected = predicted(graft_here, finished, digit_files)
    sent = [file.read_bytes() for file in digit_files]
    for data, wanted in zip(sent, expected, strict=True):
        assert_same(client.predict(data).json, wanted)
        assert_same(client.predict(data, "image/png").json, wanted)
        assert_same(client.predict_json({"image": base64_of(data)}).json, wanted)
        url = f"data:image/png;base64,{base64_of(data)}"
        assert_same(client.predict_json({"image": url}).json, wanted)
    named = [(file.name, data) for file, data in zip(digit_files, sent, strict=True)]
    lists = [
        client.predict_form(named),
        client.predict_json({"images": [base64_of(data) for data in sent]}),
        client.predict_json({"instances": [{"b64": base64_of(data)} for data in sent]}),
        client.predict_json({"instances": [{"image": {"b64": base64_of(x)}} for x in sent]}),
    ]
    for reply in lists:
        assert reply.status == 200
        for answer, wanted in zip(reply.json["predictions"], expected, strict=True):
            assert_same(answer, wanted)
    assert [one["path"] for one in lists[0].json["predictions"]] == [f.name for f in digit_files]
    one = client.predict_form(named[:1]).json
    assert_same(one, expected[0])
    assert one["path"] == digit_files[0].name


def test_many_threads_at_once_get_their_own_answers(client, graft_here, finished, digits):
    files = sorted(digits.rglob("*.png"))
    expected = predicted(graft_here, finished, files)
    with ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(lambda file: client.predict(file.read_bytes()), files))
    for reply, wanted in zip(replies, expected, strict=True):
        assert reply.status == 200, reply.body
        assert_same(reply.json, wanted)
    assert client.metric("graft_queue_images") == 0
    assert client.metric("graft_upload_bytes") == 0


def test_photos_of_every_kind_are_decoded_as_predict_does(client, graft_here, finished, tmp_path):
    noise = np.random.default_rng(1).integers(0, 256, (300, 500, 3)).astype(np.uint8)
    image = Image.fromarray(noise).resize((900, 640), Image.Resampling.BICUBIC)
    turned = Image.Exif()
    turned[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=turned)
    image.save(tmp_path / "large.jpg", quality=95)
    image.convert("L").save(tmp_path / "gray.png")
    image.convert("RGBA").save(tmp_path / "clear.webp")
    image.convert("P").save(tmp_path / "indexed.gif")
    image.save(tmp_path / "a.tiff")
    files = sorted(tmp_path.iterdir())
    for file, wanted in zip(files, predicted(graft_here, finished, files), strict=True):
        assert_same(client.predict(file.read_bytes()).json, wanted)


def test_real_photos_from_several_threads(client, graft_here, finished, flowers):
    files = sorted(flowers.rglob("*.jpg"))[::60]
    expected = predicted(graft_here, finished, files)
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda file: client.predict(file.read_bytes()), files))
    for reply, wanted in zip(replies, expected, strict=True):
        assert_same(reply.json, wanted)


def test_the_policy_is_that_of_predict(server_of, graft_here, frozen_run, digit_files):
    from graft.serve.served_runs import Asked

    asked = Asked(coverage="80%", answer_all=True, nearest=2)
    options = ["--coverage", "80%", "--answer-all", "--nearest", "2"]
    expected = predicted(graft_here, frozen_run, digit_files[:4], *options)
    with server_of({"few": frozen_run}, asked=asked) as (client, _):
        for file, wanted in zip(digit_files, expected, strict=False):
            answer = client.predict(file.read_bytes()).json
            assert_same(answer, wanted)
            assert len(answer["nearest"]) == 2
        shown = client.get("/v1/models").json["models"][0]["policy"]
    assert shown["nearest"] == 2
    assert not shown["abstain_ood"]
    assert "80%" in shown["promise"]


def test_an_unusable_image_is_named_and_the_others_are_answered(client, digit_files, base64_of):
    good = digit_files[0].read_bytes()
    reply = client.predict_form(
        [("good.png", good), ("bad.png", b"no image"), ("cut.png", good[:60])]
    )
    assert reply.status == 200
    fine, bad, cut = reply.json["predictions"]
    assert fine["path"] == "good.png"
    assert bad == {
        "path": "bad.png",
        "problem": "cannot be decoded: its bytes are no image format that Pillow knows",
    }
    assert cut["path"] == "cut.png"
    assert cut.keys() == {"path", "problem"}
    alone = client.predict(b"no image")
    assert alone.status == 422
    assert alone.json["error"].startswith("the image cannot be decoded: its bytes are no image")
    assert client.predict_form([("bad.png", b"no")]).json["error"].startswith("bad.png cannot be")
    assert client.predict(b"").status == 422
    listed = client.predict_json({"images": [base64_of(b"no")]})
    assert listed.status == 200
    assert list(listed.json["predictions"][0]) == ["path", "problem"]


def test_an_image_that_curl_d_has_spoiled_gets_the_option_that_does_not(client):
    noise = np.random.default_rng(0).integers(0, 256, (90, 90, 3), np.uint8)
    for kind in ("JPEG", "PNG"):
        file = io.BytesIO()
        Image.fromarray(noise).save(file, kind)
        whole = file.getvalue()
        spoiled = whole.translate(None, b"\r\n\0")
        refused = client.predict(spoiled, "application/x-www-form-urlencoded")
        assert refused.status == 400
        assert "send it by --data-binary" in refused.json["error"]
        assert client.predict(whole, "application/x-www-form-urlencoded").status == 200


def test_names_of_files_are_shown_without_control_characters_and_go_nowhere(client, digit_files):
    good = digit_files[0].read_bytes()
    for name in ("../../etc/passwd", "a\x1b[31mred", "x" * 3000, "C:\\x\\y.png", "\u202egnp.exe"):
        answer = client.predict_form([(name, good)]).json
        assert answer["best_guess"]
        assert answer["path"].isprintable()
        assert len(answer["path"]) <= 200


def test_what_is_no_request_is_refused_with_one_line(client, make_form):
    good = (
        (b"<html>", "text/html", 415),
        (b"{", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b"[1]", "application/json", 400),
        (b"[" + b"1," * 2_000_001 + b"1]", "application/json", 413),
        (b'{"image": 3}', "application/json", 400),
        (b'{"image": "###"}', "application/json", 400),
        (b'{"images": []}', "application/json", 400),
        (b'{"image": "", "images": []}', "application/json", 400),
        (b'{"instances": [{"a": 1, "b64": "AA=="}]}', "application/json", 400),
        (b"x", "multipart/form-data", 400),
        (b"x", "multipart/form-data; boundary=edge", 400),
        (make_form([("a", b"b")])[0][:-10], "multipart/form-data; boundary=edge", 400),
        (make_form([])[0], "multipart/form-data; boundary=edge", 400),
        (make_form([("a", b"b")] * 65)[0], "multipart/form-data; boundary=edge", 413),
    )
    assert client.predict(b"x", "image/png", Content_Encoding="gzip").status == 415
    for body, kind, status in good:
        reply = client.predict(body, kind)
        assert (reply.status, kind) == (status, kind), reply.body
        assert "\n" not in reply.json["error"]
    assert client.ask("POST", "/v1/models/other:predict", b"x").status == 404
    assert client.get("/v1/models/other").status == 404
    assert client.get("/nowhere").status == 404
    for method in ("GET", "OPTIONS", "DELETE"):
        refused = client.ask(method, client.predict_path)
        assert (refused.status, refused.headers["allow"]) == (405, "POST")
        assert refused.json["error"].startswith("this address takes POST")
    assert client.get("/healthz").json == {"live": True}


def test_request_ids_are_echoed_if_sane_and_made_if_not(client):
    assert client.get("/v1/models", X_Request_ID="job-7").headers["x-request-id"] == "job-7"
    for odd in ("a b", "x" * 200, "<script>"):
        made = client.get("/v1/models", X_Request_ID=odd).headers["x-request-id"]
        assert made != odd
        assert len(made) == 16
    refused = client.get("/nowhere", X_Request_ID="job-8")
    assert refused.json["request_id"] == refused.headers["x-request-id"] == "job-8"


def test_metrics_count_images_answers_and_scores(client, digit_files):
    before = client.metric('graft_images_total{model="digits",outcome="unusable"}')
    scored = client.metric('graft_ood_score_count{model="digits"}')
    client.predict(b"no image")
    client.predict_form([(file.name, file.read_bytes()) for file in digit_files])
    assert client.metric('graft_images_total{model="digits",outcome="unusable"}') == before + 1
    assert client.metric('graft_ood_score_count{model="digits"}') == scored + len(digit_files)
    assert client.metric('graft_refused_total{reason="unusable_image"}') >= 1
    names = client.get("/metrics").body.decode()
    for name in ("request_seconds_bucket", "queue_images", "queue_megapixels", "batch_images"):
        assert f"graft_{name}" in names


def test_a_large_photo_is_small_once_it_is_decoded(client):
    file = io.BytesIO()
    Image.new("RGB", (7000, 7000), "red").save(file, "JPEG")
    assert client.predict(file.getvalue()).status == 200
    file = io.BytesIO()
    Image.new("1", (7100, 7100)).save(file, "PNG")
    reply = client.predict(file.getvalue())
    assert reply.status == 413
    assert "more than 50 megapixels" in reply.json["error"]
