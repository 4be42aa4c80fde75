"""Answers about training: how it was trained, on which images, and what the audit found."""

from typing import Any

from graft.chat.answer import Answer, CannotAnswerError, answer, counted, joined, percent
from graft.chat.subject import Asked, Subject
from graft.models.openvino_body import named
from graft.report import run_tables
from graft.report.numbers import decimal, duration, quoted, whole


def how_trained(subject: Subject, asked: Asked) -> Answer:
    """What was trained, on how many images, for how long, and with which settings."""
    run = subject.run
    splits = run_tables.split_counts(run.images)
    backbone, settings = run.model["backbone"], run.config.get("resolved") or {}
    parameters = run.model["parameters"]
    evidence: dict[str, Any] = {
        "backbone": backbone["architecture"],
        "weights": backbone["source"],
        "training_images": splits["train"],
        "validation_images": splits["val"],
        "parameters": parameters,
        "epochs": len(run.history),
        "seed": run.config.get("seed"),
    }
    scratch = parameters["trained"] == parameters["total"] and not run.model["frozen"]
    said = [
        f"I am {named(backbone)}, trained on {counted(splits['train'], 'image')}; "
        f"{whole(splits['val'])} others decided when to stop.",
        f"All my {counted(parameters['total'], 'parameter')} were trained."
        if scratch
        else f"{whole(parameters['trained'])} of my {counted(parameters['total'], 'parameter')} "
        "were trained; the others came pretrained and stayed as they were.",
    ]
    best = run_tables.best_epoch(run.history, run.metrics.get("best_epoch"))
    if best:
        evidence["best_epoch"], evidence["val_loss"] = best["epoch"], best["val_loss"]
        said.append(
            f"Training took {counted(len(run.history), 'epoch')}; I am as I was after epoch "
            f"{best['epoch']}, when the validation loss was lowest ({decimal(best['val_loss'])})."
        )
    for name in ("optimizer", "learning_rate", "batch_size"):
        evidence[name] = settings.get(name)
    if settings.get("optimizer"):
        said.append(
            f"The optimizer was {settings['optimizer']}, with a learning rate of "
            f"{settings['learning_rate']:g} and batches of {whole(settings['batch_size'])}; the "
            f"seed was {run.config.get('seed')}."
        )
    if seconds := (run.metrics.get("seconds") or {}).get("total"):
        evidence["seconds"] = seconds
        said.append(f"The whole run took {duration(seconds)}.")
    return answer(said, subject.kept_in("config.json, model.json and history.jsonl"), evidence)


def training_size(subject: Subject, asked: Asked) -> Answer:
    """How many images there were, of all classes or of one, and in which split."""
    run = subject.run
    counts = run_tables.class_counts(run.images)
    splits = run_tables.split_counts(run.images)
    if asked.classes:
        chosen = [each for each in counts if each.name in asked.classes]
        said = [
            f"Of {quoted(each.name)} there are {counted(each.total, 'image')}: I learned from "
            f"{whole(each.splits['train'])}, {whole(each.splits['val'])} were for validation and "
            f"{whole(each.splits['test'])} for the test."
            for each in chosen
        ]
        found = {each.name: {**each.splits, "total": each.total} for each in chosen}
        return answer(said, _counted(subject), found)
    largest = max(counts, key=lambda each: each.splits["train"])
    smallest = min(counts, key=lambda each: each.splits["train"])
    evidence = {
        "images": len(run.images),
        "splits": splits,
        "classes": len(counts),
        "source": run.config.get("source"),
        "training_images": {each.name: each.splits["train"] for each in counts},
    }
    said = [
        f"I learned from {counted(splits['train'], 'image')} of "
        f"{counted(len(counts), 'class', 'classes')}; {whole(splits['val'])} were for validation "
        f"and {whole(splits['test'])} for the test, {whole(len(run.images))} in all.",
        f"The largest class is {quoted(largest.name)} with {whole(largest.splits['train'])} "
        f"training images, the smallest {quoted(smallest.name)} with "
        f"{whole(smallest.splits['train'])}.",
        f"They are from {run.config.get('source')}.",
    ]
    return answer(said, _counted(subject), evidence)


def classes(subject: Subject, asked: Asked) -> Answer:
    """Which classes it knows."""
    known = subject.classes
    evidence = {"count": len(known), "classes": known}
    said = []
    if asked.classes:
        said.append(
            f"Yes, {joined([quoted(name) for name in asked.classes])} "
            f"{'is' if len(asked.classes) == 1 else 'are'} among my classes."
        )
    shown = [quoted(name) for name in known[:20]]
    if len(known) > len(shown):
        evidence["others"] = len(known) - len(shown)
        shown.append(f"{whole(len(known) - len(shown))} others")
    said += [
        f"I know {counted(len(known), 'class', 'classes')}: {joined(shown)}.",
        "Whatever you show me, I can only name one of these, or say that it is none of them.",
    ]
    return answer(said, subject.kept_in("model.json"), evidence)


def overfitting_check(subject: Subject, asked: Asked) -> Answer:
    """Whether it does better on training images than on new ones."""
    best = run_tables.best_epoch(subject.run.history, subject.run.metrics.get("best_epoch"))
    if not best or not subject.run.history or best.get("train_accuracy") is None:
        raise CannotAnswerError("This run kept no record of its epochs, so I cannot say.")
    last = subject.run.history[-1]
    train, val = best["train_accuracy"], best["val_accuracy"]
    test = subject.run.metrics["accuracy"]["value"]
    evidence = {
        "epoch": best["epoch"],
        "train_accuracy": train,
        "val_accuracy": val,
        "test_accuracy": test,
        "val_loss": best["val_loss"],
        "last_epoch": last["epoch"],
        "last_val_loss": last["val_loss"],
    }
    said = [
        f"In epoch {best['epoch']}, whose weights I have, I was right on {percent(train)} of the "
        f"training images and {percent(val)} of the validation images; on the test images it is "
        f"{percent(test)}.",
    ]
    if train - test > 0.1:
        said.append("So I know my training images clearly better than new ones: I overfit.")
    elif train - test > 0.03:
        said.append("So I know my training images a little better than new ones, which is usual.")
    else:
        said.append("So I do as well on new images as on those I learned from: no overfitting.")
    if decimal(last["val_loss"]) != decimal(best["val_loss"]):
        said.append(
            f"The validation loss was {decimal(best['val_loss'])} then and "
            f"{decimal(last['val_loss'])} in epoch {last['epoch']}, the last; so the earlier "
            "weights were kept."
        )
    how = (
        f"{subject.kept_in('history.jsonl and metrics.json')} Dropout and augmentation make "
        "training accuracy look lower than it is."
    )
    return answer(said, how, evidence)


def data_problems(subject: Subject, asked: Asked) -> Answer:
    """What the audit found wrong with the images and labels."""
    kinds = run_tables.finding_kinds(subject.run.findings)
    evidence: dict[str, Any] = {
        "findings": [
            {
                "kind": finding["kind"],
                "severity": finding["severity"],
                "message": finding["message"],
                "images": len(finding["paths"]),
                "first": finding["paths"][:3],
            }
            for kind in kinds
            for finding in kind.findings
        ],
        "kinds": len(kinds),
    }
    if not kinds:
        return answer(
            ["The audit found nothing wrong with your images and labels."],
            subject.kept_in("findings.json"),
            evidence,
        )
    said = [f"The audit found {counted(len(kinds), 'thing')} worth a look."]
    for finding in evidence["findings"][:4]:
        message = finding["message"].rstrip(".")
        said.append(f"{message[:1].upper()}{message[1:]}.")
    how = subject.told(
        "That is in findings.json; graft check shows the files.",
        "That was found before the training; step Check shows what is left of it now.",
    )
    return answer(said, how, evidence)


def _counted(subject: Subject) -> str:
    return f"I counted them{subject.told(' in dataset.csv', '')} just now."
