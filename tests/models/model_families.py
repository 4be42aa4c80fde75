"""What works with each family of timm, from random weights: nothing is downloaded.

`python tests/models/model_families.py [FAMILY…] [--json FILE] [--checks NAME,NAME]`: the smallest
network of each family (or of those named) goes through frozen features, the last 20 %, the whole,
ONNX, a heat map and another input size, and adds a line to FILE; checks that FILE has already are
left out, so that it can be stopped and started again. `--docs` then writes the table of
docs/families.md from the lines of FILE.
"""

import argparse
import io
import json
import re
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from graft.errors import GraftError
from graft.features.backends import LazyBackend, compile_encoder, infer
from graft.inference.predictor import Predictor
from graft.models.backbone import Backbone, first_line, new_body, resized
from graft.models.halves import Suffix, split_backbone
from graft.models.head import Head
from graft.models.split_point import find_split_point
from graft.models.weights import preprocess_of
from graft.training.optim import Group, Optimizer

DOCS = Path(__file__).parents[2] / "docs" / "families.md"
# Arguments that make a small network of a large one.
SMALL_VIT = {"embed_dim": 96, "depth": 6, "num_heads": 3}


@dataclass(frozen=True)
class Example:
    """A network that stands for its family, and the pixels a side that it is tried at (0: its
    own, where it takes no others or is quick at them).
    """

    name: str
    quick: int = 0
    arguments: dict[str, Any] = field(default_factory=dict)


FAMILIES = {
    "beit": Example("beit_base_patch16_224", 64, SMALL_VIT),
    "byoanet": Example("halonet_h1"),
    "byobnet": Example("test_byobnet", 64),
    "cait": Example("cait_xxs24_224", 0, {"depth": 6, "embed_dim": 96, "num_heads": 3}),
    "coat": Example("coat_tiny"),
    "convit": Example("convit_tiny"),
    "convmixer": Example("convmixer_768_32"),
    "convnext": Example("test_convnext", 64),
    "crossvit": Example("crossvit_tiny_240"),
    "cspnet": Example("cs3darknet_focus_s", 64),
    "davit": Example("davit_tiny"),
    "deit": Example("deit_tiny_patch16_224", 64),
    "densenet": Example("densenet121", 64),
    "dla": Example("dla46x_c", 64),
    "dpn": Example("dpn48b"),
    "edgenext": Example("edgenext_xx_small", 64),
    "efficientformer": Example("efficientformer_l1"),
    "efficientformer_v2": Example("efficientformerv2_s0"),
    "efficientnet": Example("test_efficientnet", 64),
    "efficientvit_mit": Example("efficientvit_b0", 64),
    "efficientvit_msra": Example("efficientvit_m0"),
    "eva": Example("vit_tiny_patch16_dinov3_qkvb", 64),
    "fasternet": Example("fasternet_t0", 64),
    "fastvit": Example("fastvit_t8", 64),
    "focalnet": Example("focalnet_tiny_srf"),
    "gcvit": Example("gcvit_xxtiny"),
    "ghostnet": Example("ghostnet_050", 64),
    "hardcorenas": Example("hardcorenas_b"),
    "hgnet": Example("hgnetv2_b0", 64),
    "hiera": Example("hiera_tiny_224"),
    "hrnet": Example("hrnet_w18_small"),
    "inception_next": Example("inception_next_atto", 64),
    "inception_resnet_v2": Example("inception_resnet_v2"),
    "inception_v3": Example("inception_v3"),
    "inception_v4": Example("inception_v4"),
    "levit": Example("levit_128s"),
    "mambaout": Example("test_mambaout", 64),
    "maxxvit": Example("test_coatnet"),
    "metaformer": Example("poolformerv2_s12"),
    "mlp_mixer": Example("gmlp_ti16_224"),
    "mobilenetv3": Example("lcnet_035", 64),
    "mobilevit": Example("mobilevit_xxs", 64),
    "mvitv2": Example("mvitv2_tiny"),
    "nest": Example("nest_tiny"),
    "nextvit": Example("nextvit_small"),
    "nfnet": Example("test_nfnet", 64),
    "pit": Example("pit_ti_224"),
    "pvt_v2": Example("pvt_v2_b0", 64),
    "rdnet": Example("rdnet_tiny"),
    "regnet": Example("regnetx_002", 64),
    "repghost": Example("repghostnet_050", 64),
    "repvit": Example("repvit_m1"),
    "res2net": Example("res2next50"),
    "resnest": Example("resnest14d"),
    "resnet": Example("test_resnet", 64),
    "resnetv2": Example("resnetv2_18", 64),
    "rexnet": Example("rexnet_100", 64),
    "selecsls": Example("selecsls42"),
    "senet": Example("legacy_seresnet18"),
    "sequencer": Example("sequencer2d_s"),
    "sknet": Example("skresnet18"),
    "starnet": Example("starnet_s050", 64),
    "swiftformer": Example("swiftformer_xs"),
    "swin_transformer": Example("swin_tiny_patch4_window7_224", 56),
    "swin_transformer_v2": Example("swinv2_tiny_window8_256"),
    "swin_transformer_v2_cr": Example("swinv2_cr_tiny_ns_224"),
    "tiny_vit": Example("tiny_vit_5m_224"),
    "tnt": Example("tnt_s_patch16_224"),
    "tresnet": Example("tresnet_m"),
    "twins": Example("twins_svt_small"),
    "vgg": Example("vgg11", 64),
    "visformer": Example("visformer_tiny"),
    "vision_transformer": Example("test_vit", 64),
    "vision_transformer_hybrid": Example("vit_tiny_r_s16_p8_224"),
    "vision_transformer_relpos": Example("test_vit_relpos"),
    "vision_transformer_sam": Example("samvit_base_patch16_224", 0, {**SMALL_VIT, "depth": 4}),
    "vitamin": Example("vitamin_small_224"),
    "volo": Example("volo_d1_224"),
    "vovnet": Example("ese_vovnet19b_slim", 64),
    "xception": Example("xception"),
    "xception_aligned": Example("xception41"),
    "xcit": Example("xcit_nano_12_p16_224"),
}


def backbone_of(example: Example, folder: Path, size: int = 0) -> Backbone:
    """A backbone with random weights, as a card: fed as timm says, or `size` pixels a side."""
    from dataclasses import replace

    from safetensors.torch import save_file

    with torch.random.fork_rng():
        torch.manual_seed(0)
        body = new_body(example.name, example.arguments).eval()
        for module in body.modules():  # as trained ones, whose branches are not zero
            if isinstance(module, nn.BatchNorm2d) and module.affine:
                module.weight.data.uniform_(0.5, 1.0)
    file = folder / f"{example.name}.safetensors"
    save_file({k: v.clone().contiguous() for k, v in body.state_dict().items()}, file)
    backbone = Backbone(
        name=example.name,
        architecture=example.name,
        arguments=example.arguments,
        preprocess=preprocess_of(body, example.name),
        taps=True,
        features=0,
        parameters=sum(p.numel() for p in body.parameters()),
        digest=example.name,
        source="random weights",
        weights=file,
    )
    backbone = resized(backbone, size or None)
    encoder = backbone.build()
    with torch.inference_mode():
        features = encoder(torch.zeros(1, *encoder.input_shape, dtype=torch.uint8)).shape[1]
    return replace(backbone, features=features)


def predictor_of(backbone: Backbone) -> Predictor:
    """A classifier of three classes on a backbone, of random weights."""
    torch.manual_seed(0)
    head = Head(backbone.features, 3, 0, 0.0, 0.0).eval()
    return Predictor(backbone, head, ("a", "b", "c"), LazyBackend(backbone.build, "torch"))


def noise(backbone: Backbone, count: int = 2) -> Any:
    """Random images as the network takes them, (count, H, W, 3) uint8."""
    side = (backbone.preprocess.height, backbone.preprocess.width)
    return np.random.default_rng(0).integers(0, 256, (count, *side, 3)).astype(np.uint8)


def frozen(backbone: Backbone) -> str:
    """The backend that computes the features, which agree with PyTorch's in float32."""
    encoder, pixels = backbone.build(), noise(backbone)
    with torch.inference_mode():
        expected = encoder(torch.from_numpy(pixels)).numpy()
    if not np.isfinite(expected).all():
        raise ArithmeticError("features of random weights are not finite")
    compiled = compile_encoder(encoder, "auto", batch=2)
    ((_, found),) = infer(lambda: compiled, [("", pixels)])
    off = float(np.abs(found - expected).mean() / np.abs(expected).mean())
    if off > 0.05:
        raise ArithmeticError(f"{compiled.name} is {off:.0%} off")
    return "PyTorch" if compiled.note else "OpenVINO"


def partial(backbone: Backbone) -> str:
    """The share of the layers that `--unfreeze 20%` trains; the halves add up to the whole."""
    split = find_split_point(backbone.build(), "20%")
    if split.unit is None:
        return "all"
    _, suffix = split_backbone(backbone, split)
    rows = torch.randn(2, int(np.prod(split.shape)) + backbone.features) * 0.1
    trains(suffix, rows)
    return f"{split.layers[0] / split.layers[1]:.0%}"


def whole(backbone: Backbone) -> str:
    """`--unfreeze all`: a step from pixels."""
    encoder = backbone.build()
    suffix = Suffix(encoder, find_split_point(encoder, "all"))
    trains(suffix, torch.from_numpy(noise(backbone)))
    return "yes"


def trains(suffix: Suffix, rows: torch.Tensor) -> None:
    """Take a step, and be sure that weights move and stay finite."""
    parameters = list(suffix.parameters())
    before = [p.detach().clone() for p in parameters]
    suffix.train()
    suffix(rows).square().mean().backward()
    Optimizer([Group(parameters)]).step(1e-4)
    moved = sum(not p.equal(old) for p, old in zip(parameters, before, strict=True))
    if not moved or not all(torch.isfinite(p).all() for p in parameters):
        raise ArithmeticError("no weight moved, or one is not finite")


def onnx(backbone: Backbone) -> str:
    """`graft export`: ONNX Runtime gives the probabilities of the run."""
    import onnxruntime

    from graft.export.graph import graph_of
    from graft.export.writers import onnx_saver, torch_program

    predictor = predictor_of(backbone)
    # At the network's own size: the resize before it is the same for all.
    side = (backbone.preprocess.height, backbone.preprocess.width)
    program = torch_program(graph_of(predictor, square=True), side)
    file = io.BytesIO()

    class InMemory:
        write_bytes = staticmethod(file.write)

    onnx_saver(program)(InMemory(), {})  # type: ignore[arg-type]
    session = onnxruntime.InferenceSession(file.getvalue())
    pixels = noise(backbone)
    with torch.inference_mode():
        expected = predictor.classifier(torch.from_numpy(pixels)).numpy()
    found = session.run(None, {"image": pixels})[0]
    off = float(np.abs(found - expected).max())
    if off > 0.02:
        raise ArithmeticError(f"ONNX Runtime is {off:.3f} off")
    return "yes"


def explained(backbone: Backbone) -> str:
    """`graft explain --method gradients`; occlusion needs nothing of a network."""
    from graft.explanation.gradient_maps import gradient_map

    found = gradient_map(predictor_of(backbone), noise(backbone, 1)[0], 0)
    if not (np.isfinite(found).all() and found.max() > 0):
        raise ArithmeticError("the heat map is empty")
    return "yes"


def another_size(backbone: Backbone) -> str:
    """`--image-size`: half of its own, in whole patches."""
    side = backbone.preprocess.height
    resized(backbone, side // 2 // 32 * 32 if side > 160 else 128).build()
    return "yes"


CHECKS: dict[str, Callable[[Backbone], str]] = {
    "frozen": frozen,
    "20%": partial,
    "all": whole,
    "onnx": onnx,
    "gradients": explained,
    "image size": another_size,
}


def examined(family: str, folder: Path, checks: tuple[str, ...] = tuple(CHECKS)) -> dict[str, Any]:
    """A row: what each check found, or "no: " and graft's own line; other errors are bugs."""
    example = FAMILIES[family]
    row: dict[str, Any] = {"family": family, "network": example.name}
    began = time.perf_counter()
    try:
        backbone = backbone_of(example, folder, example.quick)
    except GraftError as error:
        return row | {"build": f"no: {error}"}
    except Exception as error:  # a bug here or in a library: to be seen in the table
        return row | {"build": f"fails: {first_line(error)}"}
    row |= {"parameters": backbone.parameters, "pixels": backbone.preprocess.height}
    row["stages"] = len(backbone.build().ends) or backbone.build().intermediates
    for name in checks:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                row[name] = CHECKS[name](backbone)
        except GraftError as error:
            row[name] = f"no: {error}"
        except Exception as error:  # a bug here or in a library: to be seen in the table
            row[name] = f"fails: {type(error).__name__}: {first_line(error)}"
    (folder / f"{example.name}.safetensors").unlink(missing_ok=True)
    return row | {"seconds": round(time.perf_counter() - began, 1)}


def main() -> None:
    """See the top of this file."""
    import tempfile

    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--json", type=Path, default=Path("families.jsonl"))
    parser.add_argument("--checks", default=",".join(CHECKS))
    parser.add_argument("--docs", action="store_true")
    chosen = parser.parse_args()
    if not chosen.docs:
        with tempfile.TemporaryDirectory() as folder, chosen.json.open("a") as file:
            known = rows_of(chosen.json)
            for family in chosen.names or FAMILIES:
                asked = chosen.checks.split(",")
                left = tuple(each for each in asked if each not in known.get(family, ()))
                if not left:
                    continue
                row = examined(family, Path(folder), left)
                print(json.dumps(row), file=file, flush=True)
                print(json.dumps(row), flush=True)
        return
    rows = rows_of(chosen.json)
    text = DOCS.read_text()
    table = f"<!-- table -->\n{table_of(rows)}\n<!-- end -->"
    DOCS.write_text(re.sub(r"<!-- table -->.*<!-- end -->", lambda _: table, text, flags=re.S))


def rows_of(file: Path) -> dict[str, dict[str, Any]]:
    """What the lines of a file say of each family; the last line holds."""
    rows: dict[str, dict[str, Any]] = {}
    for line in file.read_text().splitlines():
        row = json.loads(line)
        rows[row["family"]] = rows.get(row["family"], {}) | row
    return rows


TITLES = {
    "frozen": "frozen features by",
    "20%": "`--unfreeze 20%`",
    "all": "`--unfreeze all`",
    "onnx": "ONNX",
    "gradients": "heat map by gradients",
    "image size": "another `--image-size`",
}


def table_of(rows: dict[str, dict[str, Any]]) -> str:
    """The table of docs/families.md and the reasons below it, in Markdown."""
    titles = ["family", "network", "pixels", *TITLES.values()]
    lines = [f"| {' | '.join(titles)} |", "|" + " --- |" * len(titles)]
    reasons: dict[tuple[str, str], list[str]] = {}
    for family, row in sorted(rows.items()):
        cells = [family, f"`{row['network']}`", str(row.get("pixels", ""))]
        for check in TITLES:
            found = row.get(check, row.get("build", "not tried"))
            word = found.partition(":")[0]
            if word in ("no", "fails"):
                reasons.setdefault((check, reason(found, row["network"])), []).append(family)
            cells.append({"fails": "**no**"}.get(word, found if word == found else word))
        lines.append(f"| {' | '.join(cells)} |")
    said = [f"- {TITLES[check]}: {why}: {', '.join(who)}." for (check, why), who in reasons.items()]
    return "\n".join([*lines, "", "Why not:", "", *said])


def reason(found: str, network: str) -> str:
    """A message without what is of one network only."""
    said = found.partition(": ")[2].partition("; ")[0].replace(network, "it")
    said = re.sub(r"^[A-Z][A-Za-z0-9]+ (cannot|has no block)", r"it \1", said)
    said = re.sub(r"the stages of \w+ ", "its stages ", said)
    return re.sub(r"images of \d+ pixels a side, not \d+", "images of one size only", said)


if __name__ == "__main__":
    main()
