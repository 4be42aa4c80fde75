"""Findings that need no image to be opened: what the listing left out, and classes too small."""

from graft.data.dataset import Dataset
from graft.quality.class_sizes import class_size_findings
from graft.quality.finding import Finding
from graft.quality.lost_classes import lost_class_findings

# By kind of what a listing leaves out: (one file, several files).
_LEFT_OUT = {
    "bad_name": (
        "has a name that is not valid UTF-8, perhaps from an old archive",
        "have names that are not valid UTF-8, perhaps from an old archive",
        "rename",
    ),
    "not_an_image": (
        "is in a format that graft does not read as an image",
        "are in formats that graft does not read as images",
        "convert real images to JPEG or PNG",
    ),
    "no_label": (
        "is in no class folder and so has no label",
        "are in no class folder and so have no label",
        "move each into the folder of its class",
    ),
    "missing": (
        "in the table does not exist",
        "in the table do not exist",
        "paths are relative to the folder of the table",
    ),
    "link_outside": (
        "is a link that leads out of the source",
        "are links that lead out of the source",
        "--follow-links reads them, too",
    ),
    "beside_splits": (
        "lies beside the split folders and in none of them",
        "lie beside the split folders and in none of them",
        "move what is to be used into train, val or test",
    ),
    "unlabeled": (
        "in the table has no label",
        "in the table have no label",
        "fill in the label, or predict them",
    ),
    "no_image": (
        "of the table names no image",
        "of the table name no image",
        "fill in the image, or remove them",
    ),
    "bad_shard": (
        "is damaged, cut short, empty or not there",
        "are damaged, cut short, empty or not there",
        "what cannot be read of them is lost to this run: fetch or write them again",
    ),
}


def check_listing(dataset: Dataset) -> list[Finding]:
    """All findings of a dataset whose files were not opened yet."""
    return [
        *listing_findings(dataset),
        *lost_class_findings(dataset, range(len(dataset.examples))),
        *class_size_findings(dataset.examples, dataset.source),
    ]


def listing_findings(dataset: Dataset) -> list[Finding]:
    """A finding for each kind of file that the listing left out."""
    findings = []
    for kind, paths in dataset.left_out.items():
        one, several, advice = _LEFT_OUT[kind]
        noun = {"no_image": "row", "bad_shard": "shard"}.get(kind, "file")
        count = f"1 {noun} {one}" if len(paths) == 1 else f"{len(paths):,} {noun}s {several}"
        findings.append(Finding(kind, f"{count}; left out; {advice}", paths))
    return findings + [Finding(kind, message) for kind, message in dataset.remarks]
