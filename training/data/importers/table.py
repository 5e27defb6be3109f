"""Data sets that list their images in a CSV file.

    labels.csv      image,label[,mask][,group][,lot][,split][,ignore][,agreement]

`image`, `mask` and `ignore` are paths relative to the file. `label` is good or a defect class; several classes are joined
by |, the main one first. `group` names the physical part, `lot` what was made together, `split` is train, val, test or
empty. `agreement` is the share of those asked that say so, above 0 up to 1; nothing for all of them. Columns may stand in
any order, apart by commas, semicolons or tabs; others are not looked at. The text is UTF-8.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from inspector.errors import DataError
from training.data.importers.found import Found, images_below, inside, is_there, label_of, read_label_file
from training.data.samples import GOOD, Sample, printable

LABEL_FILE = "labels.csv"
_NEEDED = ("image", "label")
_SPLITS = {"": "", "train": "train", "val": "train", "valid": "train", "test": "test"}


def table(file: Path) -> Found:
    """Read the file's rows. Raises DataError if it is no such table or a row contradicts another."""
    found = Found()
    root = file.parent
    lines: dict[str, int] = {}
    for line, row in rows_of(file, _NEEDED):
        path = inside(row["image"], f"{file.name}, line {line}")
        if path in lines:
            raise DataError(
                f"{file.name} lists {printable(path)} in the lines {lines[path]} and {line}; list every image once"
            )
        lines[path] = line
        if not is_there(root / path):
            found.missing(path, f"{file.name}, line {line}")
        elif not row["label"].strip("| "):
            found.unlabelled(path, f"{file.name}, line {line} gives no label; write good or the defect class")
        else:
            found.samples.append(_sample(found, root, path, row, f"{file.name}, line {line}"))
    aside = {name for sample in found.samples for name in (sample.mask, sample.ignore)}
    for image in images_below(root):
        if (name := image.relative_to(root).as_posix()) not in aside and name not in lines:
            found.unlabelled(name, f"{file.name} does not list it; add a row or remove the image")
    return found


def _sample(found: Found, root: Path, path: str, row: Mapping[str, str], where: str) -> Sample:
    labels = list(dict.fromkeys(label_of(name) for name in row["label"].split("|") if name.strip()))
    if GOOD in labels and len(labels) > 1:
        raise DataError(f"{where} labels {printable(path)} both good and defective; decide on one")
    split = row.get("split", "").strip().casefold()
    if split not in _SPLITS:
        raise DataError(f"{where} has the split {printable(split)!r}; give train, val, test or nothing")
    beside: dict[str, str] = {}
    for column in ("mask", "ignore"):
        name = row.get(column, "").strip()
        beside[column] = inside(name, where) if name else ""
        if name and not is_there(root / beside[column]):
            found.missing(beside[column], where)
            beside[column] = ""
    return Sample(
        path,
        labels[0],
        beside["mask"],
        _SPLITS[split],
        also=tuple(labels[1:]),
        group=row.get("group", "").strip(),
        lot=row.get("lot", "").strip(),
        ignore=beside["ignore"],
        agreement=_share(row.get("agreement", "").strip(), where),
    )


def _share(text: str, where: str) -> float:
    try:
        share = float(text.replace(",", ".")) if text else 1.0
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise DataError(f"{where} has the agreement {printable(text)!r}; give a number above 0 up to 1, or nothing")
    return share


def rows_of(file: Path, needed: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """Rows of a CSV file by column name in lower case, with their line numbers. Raises DataError."""
    text = read_label_file(file)
    header = text.partition("\n")[0]
    # Spreadsheets write semicolons where the comma is the decimal mark.
    delimiter = max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[tuple[int, dict[str, str]]] = []
    columns: list[str] = []
    try:
        for cells in reader:
            if not columns:
                columns = _columns(file, cells, needed)
            elif any(cell.strip() for cell in cells):
                if len(cells) != len(columns):
                    raise DataError(
                        f"{file.name}, line {reader.line_num} has {len(cells)} columns, the first has {len(columns)}; "
                        "put names with a comma between quotes"
                    )
                rows.append((reader.line_num, dict(zip(columns, cells, strict=True))))
    except csv.Error as error:
        raise DataError(f"{file.name}, line {reader.line_num} is no CSV ({error}); save it again as CSV") from error
    if not columns:
        _columns(file, [], needed)
    return rows


def _columns(file: Path, cells: list[str], needed: tuple[str, ...]) -> list[str]:
    columns = [cell.strip().casefold() for cell in cells]
    if missing := [name for name in needed if name not in columns]:
        raise DataError(
            f"{printable(file.name)} has no column {' and no column '.join(missing)}: its first line is "
            f"{printable(', '.join(cells)[:200])!r}; name the columns there"
        )
    if twice := sorted({name for name in columns if name and columns.count(name) > 1}):
        raise DataError(f"{printable(file.name)} has two columns {printable(twice[0])}; remove one")
    return columns
