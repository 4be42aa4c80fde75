"""Answers about results: how good it is, what it confuses, whether to trust it."""

from typing import Any

from graft.chat.answer import Answer, CannotAnswerError, answer, counted, joined, percent, span
from graft.chat.subject import Asked, Subject
from graft.report import run_tables
from graft.report.numbers import quoted, whole
from graft.report.thumbnails import square
from graft.runs.confusion_counts import ConfusionCounts

SIDE = 224


def accuracy(subject: Subject, asked: Asked) -> Answer:
    """The accuracy on the test images, with its interval and the baseline."""
    metrics = subject.run.metrics
    found, baseline = metrics["accuracy"], metrics["baseline"]
    right = ConfusionCounts.read(metrics["confusion"]).right
    evidence = {
        "accuracy": found["value"],
        "interval": [found["low"], found["high"]],
        "interval_percent": 95,
        "right": right,
        "test_images": metrics["n"],
        "macro_f1": metrics["macro_f1"],
        "baseline": baseline["accuracy"]["value"],
        "majority_class": baseline["majority_class"],
    }
    said = [
        f"I am right on {whole(right)} of {counted(metrics['n'], 'test image')}: "
        f"{percent(found['value'])}, with a 95 % interval of {span(found['low'], found['high'])}.",
        f"Always saying {quoted(baseline['majority_class'])} would be right on "
        f"{percent(baseline['accuracy']['value'])}.",
        f"My macro F1, in which every class counts the same, is {percent(metrics['macro_f1'])}.",
    ]
    return answer(said, _of_test(subject), evidence)


def class_quality(subject: Subject, asked: Asked) -> Answer:
    """How well it knows a class: recall, precision and F1; without a class, the best and worst."""
    per_class = subject.run.metrics["per_class"]
    if not asked.classes:
        ranked = [name for name in run_tables.weakest_first(per_class) if per_class[name]["n"]]
        worst, best = ranked[0], ranked[-1]
        evidence: dict[str, Any] = {"f1": {name: per_class[name]["f1"] for name in ranked}}
        said = [
            f"I am best at {quoted(best)}, with an F1 of {percent(per_class[best]['f1'])}, and "
            f"worst at {quoted(worst)}, with {percent(per_class[worst]['f1'])}.",
            "F1 is high only if I find most of a class and rarely say it wrongly.",
        ]
        return answer(said, _of_test(subject), evidence)
    said, evidence = [], {}
    for name in asked.classes[:2]:
        row = per_class[name]
        if not row["n"]:
            raise CannotAnswerError(f"There was no test image of {quoted(name)}, so I do not know.")
        number = subject.run.metrics["classes"].index(name)
        hits = int(ConfusionCounts.read(subject.run.metrics["confusion"]).hits[number])
        evidence[name] = {**row, "found": hits, "interval_percent": 95}
        said += [
            f"I find {whole(hits)} of the {counted(row['n'], 'test image')} of {quoted(name)}: a "
            f"recall of {percent(row['recall'])} (95 % interval "
            f"{span(row['recall_low'], row['recall_high'])}).",
            f"When I say {quoted(name)}, I am right {percent(row['precision'])} of the time (the "
            f"precision; {span(row['precision_low'], row['precision_high'])}).",
        ]
    return answer(said, _of_test(subject), evidence)


def confusions(subject: Subject, asked: Asked) -> Answer:
    """Which classes it mixes up, of all or of those that are named."""
    metrics = subject.run.metrics
    pairs = run_tables.confusions(metrics["confusion"], metrics["classes"])
    about = set(asked.classes)
    if len(about) > 1:
        pairs = [pair for pair in pairs if {pair.label, pair.predicted} <= about]
    elif about:
        pairs = [pair for pair in pairs if about & {pair.label, pair.predicted}]
    shown = pairs[:3]
    evidence = {
        "classes": list(asked.classes),
        "pairs": [
            {
                "label": pair.label,
                "predicted": pair.predicted,
                "count": pair.count,
                "of": pair.n,
                "fraction": pair.count / pair.n,
            }
            for pair in shown
        ],
        "test_images": metrics["n"],
    }
    if not pairs:
        named = joined([quoted(name) for name in asked.classes])
        what = (
            f"{named} {'were never mixed up' if len(about) > 1 else 'was never mixed up'}"
            if (named)
            else "No class was mixed up with another"
        )
        return answer(
            [f"{what} on {counted(metrics['n'], 'test image')}."], _of_test(subject), evidence
        )
    said = [
        f"Of {counted(pair.n, 'test image')} of {quoted(pair.label)}, I took {whole(pair.count)} "
        f"for {quoted(pair.predicted)} ({percent(pair.count / pair.n)})."
        for pair in shown
    ]
    return answer(said, _of_test(subject), evidence)


def mistakes(subject: Subject, asked: Asked) -> Answer:
    """Test images that it got wrong, the most confident first."""
    found = run_tables.mistakes(subject.run)
    if asked.classes:
        found = [each for each in found if {each.label, each.predicted} & set(asked.classes)]
    total = subject.run.metrics["n"]
    shown = found[: min(asked.number or 3, 10)]
    evidence = {
        "wrong": len(found),
        "test_images": total,
        "mistakes": [
            {
                "path": each.path,
                "label": each.label,
                "predicted": each.predicted,
                "probability": each.probability,
            }
            for each in shown
        ],
    }
    of = f" that have to do with {quoted(asked.classes[0])}" if asked.classes else ""
    said = [f"I got {whole(len(found))} of {counted(total, 'test image')} wrong{of}."]
    if shown:
        listing = [
            f"{each.path}, labeled {quoted(each.label)}, which I called {quoted(each.predicted)} "
            f"with {percent(each.probability)}"
            for each in shown
        ]
        said.append(f"Where I was surest and wrong: {'; '.join(listing)}.")
    said.append("Look at these labels, too: some may be wrong." if shown else "")
    files = [(each.path, square(subject.run.files.get(each.path), SIDE)) for each in shown]
    of = subject.told("predictions.csv", "my predictions in the test")
    how = f"I compared {of} with the labels just now."
    return answer(said, how, evidence, [(path, image) for path, image in files if image])


def trust(subject: Subject, asked: Asked) -> Answer:
    """Whether its answers and probabilities can be trusted, and when not."""
    metrics = subject.run.metrics
    filled = [row for row in metrics["reliability"] if row["n"]]
    top = max(filled, key=lambda row: row["n"])
    found = metrics["accuracy"]
    evidence: dict[str, Any] = {
        "accuracy": found["value"],
        "interval": [found["low"], found["high"]],
        "ece": metrics["ece"],
        "surest": top,
        "test_images": metrics["n"],
    }
    said = [
        f"As far as the test goes: I am right on {percent(found['value'])} of "
        f"{counted(metrics['n'], 'test image')}; on new ones like them, expect "
        f"{span(found['low'], found['high'])}.",
        f"My probabilities are off by {percent(metrics['ece'])} on average: where I was about "
        f"{percent(top['confidence'])} sure ({counted(top['n'], 'image')}), I was right "
        f"{percent(top['accuracy'])} of the time.",
    ]
    refused = (metrics.get("selective_prediction") or {}).get("abstained_ood")
    if refused is not None:
        evidence["abstained_ood"] = refused
        said.append(
            f"I say “none of these” to an image unlike my training images, as I did on "
            f"{whole(refused)} of the test images."
        )
    said.append("Do not trust me on images of another kind than those I was tested on.")
    return answer(said, _of_test(subject), evidence)


def photograph_next(subject: Subject, asked: Asked) -> Answer:
    """Which images would help most: of the classes it knows worst, and of those it has fewest."""
    metrics, per_class = subject.run.metrics, subject.run.metrics["per_class"]
    tested = [name for name in per_class if per_class[name]["n"]]
    ranked = sorted(tested, key=lambda name: (per_class[name]["recall"], name))
    weakest = ranked[0]
    row = per_class[weakest]
    counts = {
        each.name: each.splits["train"] for each in run_tables.class_counts(subject.run.images)
    }
    fewest = min(counts, key=lambda name: (counts[name], name))
    evidence: dict[str, Any] = {
        "weakest": {"class": weakest, "recall": row["recall"], "n": row["n"]},
        "training_images": counts,
    }
    said = [
        f"Photograph {quoted(weakest)} next: of its {counted(row['n'], 'test image')} I find "
        f"{percent(row['recall'])}, the lowest of all classes."
    ]
    pairs = run_tables.confusions(metrics["confusion"], metrics["classes"])
    if pairs:
        pair = pairs[0]
        evidence["confusion"] = {
            "label": pair.label,
            "predicted": pair.predicted,
            "count": pair.count,
        }
        said.append(
            f"Best are images on which {quoted(pair.label)} could be taken for "
            f"{quoted(pair.predicted)}: that is my most frequent mistake ({whole(pair.count)} in "
            "the test)."
        )
    if counts[fewest] < 0.8 * max(counts.values()):
        said.append(
            f"I have the fewest training images of {quoted(fewest)}: {whole(counts[fewest])}, "
            f"against {whole(max(counts.values()))} of the largest class."
        )
    wrong = run_tables.label_errors(subject.run.findings)
    if wrong:
        evidence["label_errors"] = len(wrong)
        said.append(
            subject.told(
                f"Before that, look at the {counted(len(wrong), 'label')} that graft check "
                "doubts: that is less work.",
                "Before that, decide about what step Check still doubts: that is less work.",
            )
        )
    said.append(
        "How many more images it takes I cannot tell: "
        + subject.told(
            "graft validate --learning-curve shows what more would bring.",
            "add some in step Images, train again, and compare the two runs in step Train.",
        )
    )
    how = subject.told(
        "That is from metrics.json, dataset.csv and findings.json.",
        "That is from the test, the training images and the findings about them.",
    )
    return answer(said, how, evidence)


def _of_test(subject: Subject) -> str:
    where = subject.told("in metrics.json, from", "from")
    return f"That is {where} the test images, which training never saw."
