"""What a run says of an image that it is tried on, ready for JSON: all of it from
`Predictor.predict` and `graft.explain`.
"""

import base64
import io
from pathlib import Path

from PIL import Image

from graft.app.json_routes import Record
from graft.app.results_runs import digests_of
from graft.data.image_file import MAX_BYTES
from graft.errors import ModelError
from graft.explanation.heat_map import Explanation, explain, share
from graft.explanation.outside_evidence import of_image
from graft.explanation.seen_before import seen_before, splits_of
from graft.inference.policy import Policy
from graft.inference.prediction import Prediction
from graft.inference.predictor import Predictor
from graft.models.ood import REFUSED, expected_refusals
from graft.runs.run import Run

NEAREST = 6  # training images that are shown
SIDE = 448  # pixels of a heat map's longer side


def warm_up(run: Run, predictor: Predictor) -> Record:
    """Compile what the first answer needs; what the page shows before there is an image."""
    predictor.predict(Image.new("RGB", (64, 64), "gray"))
    _ = predictor.classifier
    return {
        "run": run.name,
        "classes": list(predictor.classes),
        "none_of_these": predictor.ood_detector is not None,
        "within": within_limit(run),
        "most_bytes": MAX_BYTES,
    }


def within_limit(run: Run) -> float:
    """The share of images like the validation ones that are within the limit of likeness."""
    validated = sum(row["split"] == "val" for row in run.images)
    return 1 - expected_refusals(validated) if validated else 1 - REFUSED


def answer(run: Run, predictor: Predictor, image: Path, min_probability: float = 0.0) -> Record:
    """The prediction of an image file as `graft predict --json` prints it, and besides `refusal`,
    what is said in place of a label; `nearest` with digests, without that very file; `seen`, what
    it means that the run knew the image, or "".
    """
    near = predictor.ood_detector and (run.path / "neighbors.safetensors").is_file()
    own = splits_of(run, image)
    policy = Policy(min_probability=min_probability, nearest=(NEAREST + len(own)) if near else 0)
    prediction = predictor.predict(image, policy)
    digests = digests_of(run)
    found = shown(prediction)
    found["nearest"] = [
        {**each, "sha256": digests.get(each["path"], ""), "said": share(max(each["similarity"], 0))}
        for each in found["nearest"] or ()
        if each["path"] not in own
    ][:NEAREST]
    return found | {"seen": seen_before(run, image)}


def shown(prediction: Prediction) -> Record:
    """A prediction for the page, the likeliest classes first."""
    return prediction.to_json() | {
        "refusal": prediction.refusal,
        "unlike": prediction.ood_score is not None and prediction.ood_score > 1,
        "ranked": [
            {"name": name, "probability": value, "said": share(value)}
            for name, value in prediction.ranked
        ],
    }


def explained(
    predictor: Predictor, image: Path, *, label: str | None = None, against: str | None = None
) -> Explanation:
    """The explanation that the page and its chat share: by gradients, which takes a second, and by
    occlusion for a network that these do not fit.
    """
    try:
        return explain(predictor, image, method="gradients", label=label, against=against)
    except ModelError:  # a network whose stages are not known
        return explain(predictor, image, label=label, against=against)


def heat_map(predictor: Predictor, image: Path, label: str | None = None) -> Record:
    """Where in an image the evidence for its best guess lies, or for `label`, as drawings in data:
    addresses and sentences; `method` says how it was found.
    """
    found = explained(predictor, image, label=label)
    suspicious = of_image(found.map) if found.method == "gradients" else ""
    return {
        "label": found.label,
        "method": found.method,
        "sentence": found.sentence,
        "comparison": found.comparison,
        "suspicious": suspicious,
        "seen_by_network": _jpeg(_sized(Image.fromarray(found.pixels))),
        "overlay": _jpeg(found.overlay(_width(found))),
        "covered": _jpeg(_sized(Image.fromarray(found.covered))),
    }


def _width(found: Explanation) -> int:
    height, width = map(int, found.pixels.shape[:2])
    return max(1, SIDE * width // max(width, height))


def _sized(image: Image.Image) -> Image.Image:
    scale = SIDE / max(image.size)
    # Few pixels are shown as such; a blur would say that the network saw more.
    smooth = Image.Resampling.NEAREST if scale > 4 else Image.Resampling.BICUBIC
    return image.resize(
        (max(1, round(image.width * scale)), max(1, round(image.height * scale))), smooth
    )


def _jpeg(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
