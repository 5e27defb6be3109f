"""`inspector-train check-data`: what a person should know of a data set before fitting on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from training.cli.options import Data, JsonFile, Location, read_location
from training.cli.screen import console, progress_bars, say
from training.data.files import write_whole
from training.data.layouts import open_dataset
from training.data.reading import Preparation


def check_data_command(
    data: Data,
    location: Location = None,
    json_file: JsonFile = None,
    card: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Card of a known set that DATA is a copy of.")
    ] = None,
) -> None:
    """Report what a person should know of a data set before fitting on it."""
    from training.data.cards import check_card
    from training.data.report import report
    from training.data.survey import survey
    from training.tables import report_view

    preparation = Preparation(1, 1, 1, read_location(location))
    with progress_bars() as progress:
        dataset = open_dataset(data)
        compared = None if card is None else check_card(card, dataset)
        result = report(survey(dataset, preparation, progress), progress)
    console.print(report_view(result))
    if compared is not None:
        whole = [f"all that the card {compared.name} says is there ({compared.version})"]
        say("\n".join(compared.sentences() or whole))
    if json_file is not None:
        write_whole(json_file, json.dumps(result.to_json(), indent=1).encode("ascii"))
