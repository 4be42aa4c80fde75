"""The page is opened in a real browser: what it computes and shows is held against PyTorch."""

import json
import re
from base64 import b64decode
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import nn

from graft.errors import ModelError, UsageError
from graft.explanation.walkthrough import walk
from graft.inference.saved_model import load, pretrained
from graft.report.explore_page import LIMIT, explore

RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")


def numbers(text):
    """The numbers in a text as the page writes them: −0.1234, 4.851 × 10⁸."""
    plain = re.sub(r" × 10([⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+)", lambda m: "e" + m[1].translate(RAISED), text)
    found = re.findall(r"-?\d+(?:\.\d+)?(?:e-?\d+)?", plain.replace("\u2212", "-").replace(",", ""))
    return [float(number) for number in found]


def four_digits(value):
    return pytest.approx(value, rel=6e-4, abs=2e-6)


@contextmanager
def opened(browser, page, **context):
    """The page once it has computed all; it may neither fail nor ask any server for anything."""
    context = {"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce"} | context
    with browser.new_context(**context) as made:
        tab, wrong = made.new_page(), []
        tab.on("console", lambda message: wrong.append(message.text))
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.on("request", lambda request: wrong.append(request.url))
        tab.goto(page.as_uri())
        tab.evaluate("explore.ready")
        yield tab
        address = page.as_uri()
        assert [w for w in wrong if w.partition("#")[0] != address] == []


def shown(tab, number):
    """A value that the page has computed: its channels and their maps."""
    rows, data, h, w = tab.evaluate(
        """number => {
          const v = explore.shown.get(number), bytes = new Uint8Array(v.data.slice().buffer);
          return new Promise(resolve => {
            const reader = new FileReader();
            reader.onload = () => resolve([v.channels, reader.result.split(",")[1], v.h, v.w]);
            reader.readAsDataURL(new Blob([bytes]));
          });
        }""",
        number,
    )
    return rows, np.frombuffer(b64decode(data), "<f4").reshape(len(rows), h, w)


def assert_values_are_torchs(tab, walkthrough, steps):
    for step in steps:
        rows, maps = shown(tab, step.output)
        expected = walkthrough.values[step.output][rows]
        np.testing.assert_allclose(maps, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


@pytest.fixture(scope="module")
def digit(digits):
    return sorted(digits.rglob("*.png"))[3]


@pytest.fixture(scope="module")
def base(finished, digit, tmp_path_factory):
    """The page of a trained base_cnn, and what PyTorch says."""
    page = explore(finished, digit, tmp_path_factory.mktemp("pages") / "base.html")
    return page, walk(load(finished), digit)


@pytest.fixture(scope="module")
def deep(untrained, noise, tmp_path_factory):
    predictor = untrained("deep_cnn", 48)
    page = explore(predictor, noise, tmp_path_factory.mktemp("pages") / "deep.html")
    return page, walk(predictor, noise)


@pytest.fixture(scope="module")
def lite(noise, tmp_path_factory):
    predictor = pretrained("tf_efficientnet_lite0")
    page = explore(predictor, noise, tmp_path_factory.mktemp("pages") / "lite.html", layers=6)
    return page, walk(predictor, noise)


def test_the_page_is_one_small_file_that_may_reach_no_server(base, deep, lite):
    for page, _ in (base, deep, lite):
        text = page.read_text()
        assert page.stat().st_size <= LIMIT
        assert "default-src 'none'" in text
        assert "https:" not in text
        assert "http:" not in text.replace("http://www.w3.org/2000/svg", "")


def test_a_trained_base_cnn_is_computed_whole_and_as_torch_does(base, browser, finished, digit):
    page, found = base
    with opened(browser, page) as tab:
        assert_values_are_torchs(tab, found, found.steps[:-1])
        answer = tab.evaluate("explore.answer().probabilities")
        np.testing.assert_allclose(answer, found.probabilities, atol=1e-6)
        predicted = load(finished).predict(digit)
        np.testing.assert_allclose(answer, list(predicted.probabilities.values()), atol=0.01)
        assert f"It says {predicted.best_guess}" in tab.inner_text("header")


def test_deep_cnn_is_computed_to_the_end_though_not_all_kernels_fit(deep, browser):
    page, found = deep
    with opened(browser, page) as tab:
        assert_values_are_torchs(tab, found, [s for s in found.steps if s.kind not in END])
        assert tab.evaluate("explore.layers.filter(l => l.channels).length") > 0
        answer = tab.evaluate("explore.answer().probabilities")
        np.testing.assert_allclose(answer, found.probabilities, atol=1e-5)
        assert "Mirror image" in tab.inner_text("#head")
        pooled = numbers(tab.inner_text("#head .steps li:has-text('Mirror image') .equals"))
        channel = int(numbers(tab.inner_text("#head .part.chosen"))[0]) - 1
        own, mirrored = found.values[found.steps[-1].output][channel], found.mirrored[channel]
        assert pooled == four_digits([own, mirrored, 2, (own + mirrored) / 2])


END = ("mean", "max", "divide")


def test_the_first_layers_of_a_pretrained_network_end_with_from_here_on(lite, browser):
    page, found = lite
    with opened(browser, page) as tab:
        count = tab.evaluate("explore.layers.flatMap(l => l.steps).length")
        assert_values_are_torchs(tab, found, found.steps[:count])
        assert "43 more convolutions" in tab.inner_text("#strip .rest")
        top = tab.locator("#strip .class").all_inner_texts()
        assert len(top) == 10
        assert numbers(top[0])[-1] == pytest.approx(100 * found.probabilities.max(), abs=0.06)
        others = tab.inner_text("table.softmax tbody tr:last-child")
        assert others.startswith("990 others")


def test_a_click_on_a_map_and_on_a_pixel_shows_patch_kernel_products_and_sum(base, browser):
    page, found = base
    conv, norm, pool, relu = found.steps[3:7]
    with opened(browser, page) as tab:
        thumb = tab.locator('#strip [data-layer="1"]').nth(2)
        channel = int(thumb.get_attribute("data-channel"))
        thumb.click()
        assert tab.inner_text("#channel-title") == f"Convolution 2, channel {channel + 1}"
        area = tab.locator("#channel .map").nth(1)
        box = area.bounding_box()
        area.click(position={"x": box["width"] * 3.5 / 16, "y": box["height"] * 6.5 / 16})
        assert tab.inner_text("#pixel h3") == "The pixel in row 7, column 4"
        y, x = 6, 3
        source = np.pad(found.values[conv.inputs[0]], ((0, 0), (1, 1), (1, 1)))
        sums = []
        for part in tab.locator("#pixel .part").all():
            i = int(part.get_attribute("data-input"))
            kernel, patch = conv.tensors["weight"][channel, i], source[i, y : y + 3, x : x + 3]
            sums.append(float((kernel.astype(np.float64) * patch).sum()))
            assert numbers(part.inner_text())[-1] == four_digits(sums[-1])
            block = tab.locator(f'#pixel .block[data-input="{i}"]')
            if block.count():
                tables = block.locator("table").all()
                written = [numbers(table.inner_text()) for table in tables]
                expected = [patch.ravel(), kernel.ravel(), (patch * kernel).ravel()]
                assert written == [four_digits(list(values)) for values in expected]
        assert len(sums) == 32
        results = [numbers(t)[0] for t in tab.locator("#pixel .steps strong").all_inner_texts()]
        assert results[0] == four_digits(sum(sums))
        later = [found.values[s.output][channel] for s in (norm, pool, relu)]
        expected = [later[0][y, x], later[1][y // 2, x // 2], later[2][y // 2, x // 2]]
        assert results[1:] == four_digits(expected)
        window = later[0][y // 2 * 2 : y // 2 * 2 + 2, x // 2 * 2 : x // 2 * 2 + 2]
        cells = numbers(tab.inner_text("#pixel .steps table"))
        assert cells == four_digits(list(window.ravel()))


def test_batch_normalization_is_written_out_with_its_four_numbers(base, browser):
    page, found = base
    norm = found.steps[1]
    with opened(browser, page) as tab:
        tab.evaluate("explore.open(0, 4, 5, 5)")
        line = tab.locator("#pixel .steps li", has_text="Batch normalization")
        value, mean, var, eps, weight, bias, result = numbers(line.locator(".equals").inner_text())
        own = [float(norm.tensors[k][4]) for k in ("mean", "var", "weight", "bias")]
        assert [mean, var, weight, bias] == four_digits(own)
        assert eps == norm.settings["eps"]
        assert value == four_digits(found.values[1][4, 5, 5])
        assert result == four_digits(found.values[2][4, 5, 5])
        scale, shift = numbers(line.locator(".note").inner_text())
        assert value * scale + shift == pytest.approx(result, abs=2e-3)


def test_features_add_up_to_the_logit_and_softmax_to_one(base, browser, finished):
    page, found = base
    head = load(finished).head
    weight, bias = (p.detach().numpy() for p in head.layers[-1].parameters())
    with opened(browser, page) as tab:
        tab.locator("table.softmax tbody button").nth(1).click()
        k = load(finished).classes.index(tab.inner_text("table.softmax tr.chosen th"))
        parts = [numbers(t)[-1] for t in tab.locator("#head .part").all_inner_texts()]
        standard = (found.features - head.mean.numpy()) / head.std.numpy()
        assert sorted(parts) == four_digits(sorted(standard * weight[k]))
        assert sum(parts) + bias[k] == pytest.approx(found.logits[k], abs=2e-3)
        rows = [numbers(t)[-5:] for t in tab.locator("table.softmax tbody tr").all_inner_texts()]
        logits, tempered, exps, shares, percents = np.array(rows).T
        assert list(exps) == [pytest.approx(np.exp(t), rel=2e-3) for t in tempered]
        total = numbers(tab.inner_text("table.softmax tfoot"))[0]
        assert total == pytest.approx(exps.sum(), rel=1e-3)
        assert list(shares) == [pytest.approx(e / total, rel=2e-3, abs=1e-6) for e in exps]
        assert sorted(logits) == four_digits(sorted(found.logits.tolist()))
        assert percents[0] == pytest.approx(100 * found.probabilities.max(), abs=0.06)


def test_everything_can_be_reached_with_the_keyboard(base, browser):
    page, _ = base
    with opened(browser, page) as tab:
        focused = "[document.activeElement.dataset.layer, document.activeElement.dataset.channel]"
        tab.keyboard.press("Tab")
        assert tab.evaluate(focused) == ["-1", "0"]
        tab.keyboard.press("ArrowRight")
        tab.keyboard.press("ArrowDown")
        layer, channel = tab.evaluate(focused)
        assert layer == "0"
        tab.keyboard.press("Enter")
        assert tab.evaluate("[explore.state.layer, explore.state.channel]") == [0, int(channel)]
        assert "arrow keys move the pixel" in tab.evaluate("document.activeElement.ariaLabel")
        before = tab.evaluate("[explore.state.y, explore.state.x]")
        move, by = ("ArrowRight", 1) if before[1] < 15 else ("ArrowLeft", -1)
        tab.keyboard.press(move)
        assert tab.evaluate("[explore.state.y, explore.state.x]") == [before[0], before[1] + by]
        assert f"column {before[1] + by + 1}:" in tab.inner_text("#live")
        outline = "getComputedStyle(document.activeElement).outlineStyle"
        assert tab.evaluate(outline) == "solid"
        tab.keyboard.press("Escape")
        assert tab.is_hidden("#channel")
        assert tab.evaluate(focused) == ["0", channel]
        unnamed = (
            "[...document.querySelectorAll('button')].filter(b => !b.ariaLabel && !b.innerText)"
        )
        assert tab.evaluate(f"{unnamed}.length") == 0


def test_a_number_can_be_followed_back_to_the_image_and_forth_to_the_features(base, browser):
    page, _ = base
    with opened(browser, page) as tab:
        tab.evaluate("explore.open(5, explore.shown.get(21).channels[0])")
        for layer in (4, 3, 2, 1, 0, -1):
            tab.locator("#pixel .block .link").first.click()
            assert tab.evaluate("explore.state.layer") == layer
        for layer in range(6):
            tab.locator("#pixel .next button").first.click()
            assert tab.evaluate("explore.state.layer") == layer
        channel = tab.evaluate("explore.state.channel")
        tab.locator("#pixel .next button").first.click()
        assert f"Feature {channel + 1}" in tab.inner_text("#head")


def test_the_receptive_field_is_the_support_of_the_gradient(base, browser, untrained):
    page, _ = base
    body = untrained("base_cnn", 16).classifier.encoder.body
    for block in body.blocks:  # what leaves no gradient out
        for i, module in enumerate(block):
            if isinstance(module, nn.MaxPool2d):
                block[i] = nn.AvgPool2d(2)
            elif isinstance(module, nn.ReLU):
                block[i] = nn.Identity()
    x = torch.rand(1, 3, 16, 16, requires_grad=True)
    steps = [layer for block in body.blocks for layer in block]
    with opened(browser, page) as tab:
        for number, (y, z) in ((3, (0, 5)), (4, (7, 7)), (7, (3, 4)), (10, (2, 6)), (14, (1, 1))):
            value = x
            for module in steps[:number]:
                value = module(value)
            (gradient,) = torch.autograd.grad(value[0, :, y, z].sum(), x)
            support = np.argwhere(gradient[0].abs().sum(0).numpy() > 0)
            box = np.array(tab.evaluate(f"explore.receptiveField({number}, {y}, {z})"))
            assert box.clip(0, 15).tolist() == [*support.min(0).tolist(), *support.max(0).tolist()]


def test_the_pixel_under_the_pointer_shows_what_it_sees(base, browser):
    page, found = base
    with opened(browser, page) as tab:
        thumb = tab.locator('#strip [data-layer="0"]').first
        channel = int(thumb.get_attribute("data-channel"))
        box = thumb.locator("canvas").bounding_box()
        tab.mouse.move(box["x"] + box["width"] * 4.5 / 16, box["y"] + box["height"] * 8.5 / 16)
        said = tab.inner_text("#readout")
        assert f"channel {channel + 1}, row 9, column 5" in said
        assert "sees 3 × 3 pixels" in said
        value = numbers(said.split("column 5:")[1])[0]
        assert value == four_digits(found.values[3][channel, 8, 4])
        assert tab.is_visible("#strip .image .frame")


def test_a_narrow_screen_and_a_finger_are_enough(base, browser):
    page, _ = base
    narrow = {"viewport": {"width": 400, "height": 800}, "has_touch": True, "is_mobile": True}
    with opened(browser, page, **narrow) as tab:
        tab.locator('#strip [data-layer="0"]').first.tap()
        area = tab.locator("#channel .map").nth(1)
        box = area.bounding_box()
        area.tap(position={"x": box["width"] * 0.9, "y": box["height"] * 0.1})
        assert tab.inner_text("#pixel h3") == "The pixel in row 2, column 15"
        assert tab.evaluate("document.documentElement.scrollWidth") <= 400


def test_an_address_opens_a_pixel_and_a_wrong_one_does_no_harm(base, browser):
    page, _ = base
    with opened(browser, page) as tab:
        tab.goto(page.as_uri() + "#/2/3/4/5")
        tab.wait_for_selector("#channel:visible")
        assert tab.evaluate("Object.values(explore.state)")[:4] == [1, 2, 3, 4]
        for wrong in ("#/9/1/1/1", "#/1/999/1/1", "#/1/1/99/1", "#/x", "#glossary"):
            tab.goto(page.as_uri() + wrong)
            assert tab.evaluate("Object.values(explore.state)")[:4] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("values", "says", "kind"),
    [
        ((5, 2, 0, 1), "4 × 4", "fine"),
        ((64, 3, 1, 1), "same", "fine"),
        ((5, 2, 0, 2), "last row and column", "careful"),
        ((7, 3, 0, 3), "last row and column", "careful"),
        ((3, 5, 0, 1), "Impossible", "impossible"),
        ((3, 5, 1, 1), "1 × 1", "fine"),
        ((5, 1, 2, 1), "nothing but padding", "careful"),
        (("", 3, 1, 1), "Whole numbers", "impossible"),
        ((5, 3, 1, 0), "Whole numbers", "impossible"),
    ],
)
def test_the_playground_knows_what_is_possible(playground, values, says, kind):
    for name, value in zip(("size", "kernel", "padding", "stride"), values, strict=True):
        playground.fill(f"#play-{name}", str(value))
    assert says in playground.inner_text("#verdict")
    assert kind in playground.get_attribute("#verdict", "class")
    assert (kind == "fine") == (playground.locator("[aria-invalid=true]").count() == 0)
    if kind != "impossible":
        n, k, p, s = values
        expected = nn.functional.conv2d(torch.ones(1, 1, n, n), torch.ones(1, 1, k, k), None, s, p)
        written = numbers(playground.inner_text("#formula").split("=")[-1])
        assert written == [expected.shape[-1]]


@pytest.fixture(scope="module")
def playground(base, browser):
    with opened(browser, base[0]) as tab:
        yield tab


def test_names_are_text_and_never_markup(untrained, noise, browser, tmp_path):
    names = ("</script><b>x", "<img src=x onerror=alert(1)>", "{{ 7 * 7 }}")
    predictor = untrained("base_cnn", 16, names)
    page = explore(predictor, noise, tmp_path / "new" / "page.html", layers=2)
    with opened(browser, page) as tab:
        shown_names = tab.locator("#strip .class bdi").all_inner_texts()
        assert sorted(shown_names) == sorted(names)
        assert tab.locator("#strip b b, img").count() == 0


def test_what_cannot_be_shown_is_said_in_one_line(finished, digit, tmp_path):
    with pytest.raises(UsageError, match="layers must be a whole number of at least 1, not 0"):
        explore(finished, digit, tmp_path / "x.html", layers=0)
    with pytest.raises(ModelError, match="base_cnn knows nothing before it is trained"):
        explore("base_cnn", digit, tmp_path / "x.html")
    with pytest.raises(UsageError, match=r"no\.png cannot be read"):
        explore(finished, tmp_path / "no.png", tmp_path / "x.html")
    assert not (tmp_path / "x.html").exists()


def test_the_command_writes_the_page_and_says_where(finished, digit, tmp_path, graft_here):
    page = tmp_path / "page.html"
    ended = graft_here("explore", finished, digit, "--out", page)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == f"written: {page}  (open it in a browser)\n"
    ended = graft_here("explore", finished, digit, "--out", page, "--layers", "1", "--json")
    assert json.loads(ended.out) == {"page": str(page), "bytes": page.stat().st_size}


def test_the_image_can_be_changed_and_the_network_asked_again(base, browser, finished, digit):
    page, found = base
    classifier = load(finished).classifier
    mirrored = torch.from_numpy(found.pixels[:, ::-1].copy())[None]
    covered = torch.from_numpy(found.pixels.copy())[None]
    covered[:, 6:10, 6:10] = 128  # 127.5, rounded
    with torch.no_grad():
        expected = [classifier(pixels)[0].numpy() for pixels in (mirrored, covered)]
    with opened(browser, page) as tab:
        tab.evaluate("explore.open(2, 7, 3, 3)")
        tab.click("text=Mirror it")
        tab.wait_for_selector("#changed:has-text('goes from')")
        np.testing.assert_allclose(answers(tab), expected[0], atol=1e-6)
        assert tab.evaluate("explore.state.layer") == 2
        tab.click("text=The image as it was")
        tab.wait_for_selector("#status:has-text('PyTorch')")
        np.testing.assert_allclose(answers(tab), found.probabilities, atol=1e-6)
        tab.click("text=Cover the middle")
        tab.wait_for_selector("#changed:has-text('goes from')")
        np.testing.assert_allclose(answers(tab), expected[1], atol=1e-6)
        with tab.expect_file_chooser() as chooser:
            tab.click("text=Another image")
        chooser.value.set_files(digit)
        tab.wait_for_selector(f"#changed:has-text('{digit.name}')")
        assert sum(answers(tab)) == pytest.approx(1)


def answers(tab):
    return tab.evaluate("explore.answer().probabilities")


def test_an_image_whose_maps_are_stored_cannot_be_changed(deep, browser):
    with opened(browser, deep[0]) as tab:
        assert tab.is_hidden("#changes")
