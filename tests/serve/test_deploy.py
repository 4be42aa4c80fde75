"""The files in deploy/ and the examples of docs/deploy.md, run or checked by what is installed."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
INSTALLED = "/usr/local/lib/graft"  # where the container and the unit have it
PAGE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")


def blocks(kind):
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def place(tmp_path_factory, digit_files):
    """A folder with the files that the page's examples name."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("examples")
    for name in ("photo.jpg", "one.jpg", "two.jpg"):
        Image.open(digit_files[0]).convert("RGB").save(folder / name)
    return folder


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
def test_every_curl_example_of_the_page_is_answered(server_of, finished, place):
    with server_of({"flowers": finished}) as (client, _):
        for text in blocks("bash"):
            text = text.replace("localhost:8000", f"127.0.0.1:{client.port}")
            text = text.replace("curl ", "curl --fail-with-body -sS ")
            command = ["bash", "-e", "-o", "pipefail", "-c", text]
            done = subprocess.run(command, cwd=place, capture_output=True, text=True)
            assert done.returncode == 0, (text, done.stdout, done.stderr)
            assert done.stdout


def test_every_python_example_of_the_page_prints_a_label(server_of, finished, place):
    pytest.importorskip("tritonclient.http", reason="needs tritonclient[http]")
    with server_of({"flowers": finished}) as (client, _):
        for text in blocks("py"):
            text = text.replace("localhost:8000", f"127.0.0.1:{client.port}")
            command = [sys.executable, "-c", text]
            done = subprocess.run(command, cwd=place, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            assert done.stdout.strip()


def test_the_pages_metrics_and_limits_are_the_servers(client):
    from graft.serve.limits import Limits

    found = client.get("/metrics").body.decode()
    names = set(re.findall(r"graft_\w+", PAGE + (DEPLOY / "alerts.yml").read_text()))
    for name in names - {"graft_requests_total", "graft_refused_total", "graft_images_total"}:
        assert f"# TYPE {name} " in found
    for name in ("requests", "refused", "images"):
        assert f"# TYPE graft_{name}_total counter" in found
    limits = Limits()
    for text in (
        f"{limits.upload_megabytes:g} MB, {limits.images} images, or {limits.megapixels:g} mega",
        f"{limits.queue_images} images or {limits.queue_megapixels:g} megapixels wait",
        f"`--drain-seconds` ({limits.drain_seconds:g})",
        f"`--stop-seconds` ({limits.stop_seconds:g})",
        f"client_max_body_size {limits.upload_megabytes:g}m",
    ):
        assert text in PAGE


def options_are_known(words):
    from graft.cli.serve_commands import serve

    serve.make_context("serve", list(words))


def test_the_commands_of_the_files_are_commands_of_graft():
    yaml = pytest.importorskip("yaml")
    unit = (DEPLOY / "graft.service").read_text()
    words = shlex.split(re.search(r"^ExecStart=(.*)$", unit, re.MULTILINE)[1])
    assert words[:2] == [f"{INSTALLED}/bin/graft", "serve"]
    options_are_known(words[2:])
    entry = re.search(r"^ENTRYPOINT (\[.*\])$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    begin = yaml.safe_load(entry[1])
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    options_are_known([*begin[2:], *compose["services"]["graft"]["command"]])


def test_compose_and_prometheus_fit_together():
    yaml = pytest.importorskip("yaml")
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    scraped = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"][0]
    assert scraped["static_configs"][0]["targets"] == ["graft:8000"]
    assert scraped["authorization"]["credentials_file"] == "/run/secrets/api_key"
    for service in services.values():
        assert service["secrets"] == ["api_key"]
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    mounted = [one["source"] for one in services["prometheus"]["volumes"] if "source" in one]
    assert [(ROOT / file).is_file() for file in mounted] == [True, True]
    alerts = yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"][0]["rules"]
    assert all(rule["expr"] and rule["annotations"]["summary"] for rule in alerts)


def test_what_the_dockerfile_copies_is_there_and_not_ignored():
    kept = (DEPLOY / "Dockerfile.dockerignore").read_text().split()
    text = (DEPLOY / "Dockerfile").read_text()
    copied = [
        w for line in re.findall(r"^COPY (?!--)(.*)$", text, re.MULTILINE) for w in line.split()
    ]
    for name in copied:
        if name not in ("./", "./src"):
            assert (ROOT / name).exists()
            assert f"!{name}" in kept


def test_hadolint_finds_nothing():
    if not shutil.which("hadolint"):
        pytest.skip("needs hadolint")
    done = subprocess.run(["hadolint", DEPLOY / "Dockerfile"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("needs systemd-analyze")
    # graft is not installed there on this machine.
    text = (DEPLOY / "graft.service").read_text().replace(f"{INSTALLED}/bin/graft", "/bin/true")
    (tmp_path / "graft.service").write_text(text)
    command = ["systemd-analyze", "verify", tmp_path / "graft.service"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "graft.service" not in done.stderr, done.stderr
