"""`dlm-release predict`: label the turns of conversations in a file."""

from __future__ import annotations

import json as json_module
import sys
from pathlib import Path
from typing import Annotated

import typer

from dialoguellm_release import steps
from dialoguellm_release.cli import command
from dialoguellm_release.cli.command import BUILD, Json, say, show, show_json
from dialoguellm_release.render.predictions import LIMITS_OF_USE, predictions_table


def predict(
    file: Annotated[
        str, typer.Argument(help="CSV, TSV, JSON Lines, Parquet, plain chat, SRT or WebVTT; - is stdin.")
    ],
    adapter: Annotated[
        str | None,
        typer.Option(metavar="DIR|ID", help="An adapter or a merged model: folder or id on the Hub."),
    ] = None,
    backbone: Annotated[
        Path | None, typer.Option(help="Folder of the adapter's base. [default: from the Hub]")
    ] = None,
    served: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Ask this model on a server; --adapter states prompt and labels."),
    ] = None,
    base_url: command.BaseUrl = command.LOCAL_SERVER,
    api: command.Api = "chat",
    key_variable: command.KeyVariable = "OPENAI_API_KEY",
    concurrency: command.Concurrency = 8,
    cache: command.Cache = BUILD / "cache",
    labels: Annotated[
        str | None, typer.Option(help="Predict these labels alone: a part of the label space, with commas.")
    ] = None,
    corpus: Annotated[
        str | None, typer.Option(help="Whose label space, for a model of several corpora.")
    ] = None,
    context_k: Annotated[
        int | None, typer.Option(min=0, help="Turns of context. [default: as in training]")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Turns in one forward pass.")] = 16,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps. [default: a GPU, else cpu]")] = (
        None
    ),
    form: Annotated[
        str | None,
        typer.Option("--format", help="csv, tsv, jsonl, json, parquet, chat, srt, vtt. [default: by name]"),
    ] = None,
    text: Annotated[str | None, typer.Option(help="The column of the texts, in a table.")] = None,
    speaker: Annotated[str | None, typer.Option(help="The column of the speakers.")] = None,
    dialogue: Annotated[str | None, typer.Option(help="The column that tells conversations apart.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Write .csv, .jsonl or .parquet. [default: a table, or CSV into a pipe]"),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an earlier run stopped.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an output that is there.")] = False,
    json: Json = False,
) -> None:
    """Label the turns of conversations with a trained model.

    One row for each turn, in the order of the file. Prompt, labels, context and base are those that the
    folder of the model states.

    Example: dlm-release predict chat.txt --adapter build/adapters/tiny --out emotions.csv
    """
    if served is not None and (backbone is not None or device is not None):
        raise typer.BadParameter("--backbone and --device are of a model that runs here, not of --served")
    if served is None and adapter is None:
        raise typer.BadParameter("name the model with --adapter, or with --served one on a server")
    if out is None and (resume or replace):
        raise typer.BadParameter("--resume and --replace need --out")
    server = served and command.served_model(served, base_url, api, key_variable, concurrency)
    if out is not None:
        steps.predict.check_output(out, file, replace=replace)
    chosen = None if labels is None else [one.strip() for one in labels.split(",")]
    named = {"text": text, "speaker": speaker, "dialogue": dialogue}
    columns = {role: name for role, name in named.items() if name is not None}
    with steps.predict.opened(file, form, columns) as source:
        if server:
            predictor = steps.predict.EmotionPredictor.from_served(
                server, adapter, labels=chosen, corpus=corpus, context_k=context_k, cache=cache
            )
        else:
            assert adapter is not None
            predictor = steps.predict.EmotionPredictor.from_pretrained(
                adapter,
                backbone=backbone or steps.predict.backbone_of(adapter),
                labels=chosen,
                corpus=corpus,
                context_k=context_k,
                batch_size=batch_size,
                device=device,
            )
        say(LIMITS_OF_USE)
        if out is None:
            _to_stdout(source, predictor, json=json)
            return
        made = steps.predict.predict_source(source, predictor, out, resume=resume, replace=replace)
    if json:
        show_json({**vars(made), "out": str(made.out), "limits_of_use": LIMITS_OF_USE})
    say(f"{made.out} is written: {steps.predict.counted(predictor)}.")


def _to_stdout(
    source: steps.predict.ConversationFile, predictor: steps.predict.EmotionPredictor, *, json: bool
) -> None:

    pieces = steps.predict.predict_rows(source, predictor)
    if json:
        stated = {"limits_of_use": LIMITS_OF_USE, "calibrated_on": predictor.calibrated_on}
        show(json_module.dumps(stated)[:-1] + ', "predictions": [')
        is_first = True
        for rows in pieces:
            for row in rows:
                show(("" if is_first else ",") + json_module.dumps(row, ensure_ascii=False))
                is_first = False
        show("]}")
    elif is_terminal():
        for rows in pieces:
            show(predictions_table(rows))
    else:
        for number, rows in enumerate(pieces):
            lines = steps.predict.lines_of(rows, predictor.labels, "csv", has_header=not number)
            show(lines.removesuffix("\n"))
    say(steps.predict.counted(predictor))


def is_terminal() -> bool:
    """Whether a person reads what is printed."""
    return sys.stdout.isatty()
