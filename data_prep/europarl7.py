"""Europarl v7 German-English as parallel text with document marks, `<d DAY>`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import steps
from document_report import print_documents
from download import Download
from europarl.assembly import assemble
from europarl.release import (
    MAX_PAIRS_BYTES,
    MAX_SOURCE_BYTES,
    Sources,
    locate_pairs,
    locate_source,
    locate_splits,
    source_folders,
)
from europarl.source import LANGS, day_of, list_days
from europarl.splits import (
    Days,
    HeldOut,
    check_days,
    check_days_exist,
    read_days,
    split_by_day,
    write_splits,
)
from marks import find_marks
from omegaconf import MISSING
from output import Output, Report, check_least, check_name
from parallel_text import Form, Text, open_text, take_splits
from steps import Fate, Fates

from reluformer.cli.app import command
from reluformer.console import console
from reluformer.data.text import read_lines
from reluformer.errors import UserError

DOCUMENTS = ("speaker", "chapter")
ALIGNMENTS = ("official", "gale_church")
FORM = ("moses", "lowercase", "max_length", "max_ratio")
SPLITTING = ("valid_days", "test_days", "valid_documents", "test_documents")


@dataclass
class SplitNames:
    """What the document release's files are called there; None for the usual names."""

    train: str | None
    valid: str | None
    test: str | None


@dataclass
class Europarl7Config:
    """Settings of data_prep/europarl7.py; conf/data_prep/europarl7.yaml explains each."""

    name: str
    documents: str
    alignment: str
    pairs: str | None
    source: str | None
    pairs_url: str
    pairs_sha256: str | None
    source_url: str
    source_sha256: str | None
    valid_days: list[str]
    test_days: list[str]
    valid_documents: int | None
    test_documents: int | None
    folder: str | None
    moses: bool
    lowercase: bool
    max_length: int | None
    max_ratio: float | None
    workers: int | None
    overwrite: bool
    splits: SplitNames = MISSING

    def __post_init__(self) -> None:
        check_name("name", self.name)
        check_least(self, 1, "valid_documents", "test_documents", "max_length", "max_ratio")
        check_least(self, 1, "workers")
        for setting, choices in (("documents", DOCUMENTS), ("alignment", ALIGNMENTS)):
            value = getattr(self, setting)
            if value not in choices:
                raise UserError(f"`{setting}` must be {' or '.join(choices)}, but is {value!r}")
        if self.alignment == "gale_church" and self.pairs is not None:
            raise UserError("`pairs` are aligned already; drop it, or alignment=gale_church")
        for setting in ("pairs", "source", "valid_documents", "test_documents"):
            if self.folder is not None and getattr(self, setting) is not None:
                rule = "is of the release by days; a `folder` is taken with the splits that it has"
                raise UserError(f"`{setting}` {rule}")
        check_days(self.held_out)

    @property
    def held_out(self) -> HeldOut:
        return {
            Fate.VALID: Days(self.valid_days, self.valid_documents),
            Fate.TEST: Days(self.test_days, self.test_documents),
        }

    @property
    def form(self) -> Form:
        return Form(self.moses, self.lowercase, self.workers)


@command("data_prep/europarl7", Europarl7Config)
def main(config: Europarl7Config) -> None:
    """Make Europarl v7 German-English ready, as documents.

    Downloads the release of statmt.org, or takes the one given: the aligned files, and the source
    texts of each day, by whose marks of chapters and speakers each pair finds its document. With
    alignment=gale_church the source texts alone are aligned, by the lengths of sentences. Days
    are held out for validation and testing as a whole. Or takes the document release of the
    literature (`folder`), in which lines `<d>` stand before documents and splits are files: train,
    valid or dev, and test, or what `splits` calls them.
    Writes data/<name>/text, a line `<d DAY>` before each document, and prepare.json with the
    documents' lengths and what was left out, and why.

    Examples:
        python data_prep/europarl7.py
        python data_prep/europarl7.py pairs=de-en.tgz source=europarl.tgz documents=chapter
        python data_prep/europarl7.py source=europarl.tgz alignment=gale_church name=aligned
        python data_prep/europarl7.py folder=europarl7-doc name=europarl7_release
    """
    report = prepare_splits(config) if config.folder is not None else prepare_release(config)
    counts = report["counts"]
    if "assembled" in counts:
        print_assembled(counts["assembled"])
    steps.print_counts(counts)
    print_documents(counts)
    console.print(f"prepared {Path('data', config.name, 'text')}")


# ---- The release of statmt.org ----


def prepare_release(config: Europarl7Config) -> Report:
    """Assemble documents from the release, and split them by day."""
    downloads = Path("data", config.name, "download")
    sources = locate_source(
        config.source,
        Download(
            config.source_url,
            downloads / "europarl.tgz",
            MAX_SOURCE_BYTES,
            config.source_sha256,
        ),
    )
    if config.alignment == "official":
        file = downloads / "de-en.tgz"
        download = Download(config.pairs_url, file, MAX_PAIRS_BYTES, config.pairs_sha256)
        sources |= locate_pairs(config.pairs, download)
    settings = ("documents", "alignment", *SPLITTING, *FORM)
    options = {setting: getattr(config, setting) for setting in settings}
    output = Output(config.name, "europarl7", options, sources)
    return output.make(partial(fill_release, config, sources), config.overwrite)


def fill_release(config: Europarl7Config, sources: Sources, staging: Path) -> Report:
    work = staging / "work"
    work.mkdir(exist_ok=True)
    files = {lang: work / f"assembled.{lang}" for lang in LANGS}
    report = work / "assembled.json"  # there only when the files are whole
    if not report.exists():
        assembled = assemble_release(config, sources, work, list(files.values()))
        steps.write_lines(report, [json.dumps(assembled)])
    marks = find_marks(*files.values())
    text = open_text(files, config.form, work, "tokens", marks)
    fates = judge(config, text)
    split_by_day(text, fates, read_days(files["de"], marks), config.held_out)
    return {"assembled": json.loads(report.read_text())} | write_splits(text, fates, staging)


def assemble_release(
    config: Europarl7Config, sources: Sources, work: Path, files: Sequence[Path]
) -> Report:
    folders = source_folders(sources, work)
    names = list_days(folders)
    check_days_exist(config.held_out, [day_of(name) for name in names])
    kind = config.documents, config.alignment, config.workers
    return assemble(sources, folders, names, work, files, *kind)


def judge(config: Europarl7Config, text: Text) -> Fates:
    return text.judge(config.max_length, config.max_ratio)


def print_assembled(assembled: Report) -> None:
    """What became of the aligned files' pairs, or of the source texts' sentences."""
    dropped = [
        f"{number:,} {why.replace('_', ' ')}" for why, number in assembled["dropped"].items()
    ]
    console.print(
        f"{assembled['how']}: {assembled['kept']:,} pairs; left out: {', '.join(dropped)}"
    )


# ---- The document release of the literature ----


def prepare_splits(config: Europarl7Config) -> Report:
    """Take the splits and documents of a folder as they are."""
    files = locate_splits(Path(config.folder or ""), asdict(config.splits))
    for pair in files.values():
        if not find_marks(*pair.values()).any():
            names = " and ".join(map(str, pair.values()))
            raise UserError(f"{names} have no marks of documents, `<d>`; use data_prep/pairs.py")
    options = {setting: getattr(config, setting) for setting in FORM}
    sources = {f"{split}.{lang}": path for split in files for lang, path in files[split].items()}
    output = Output(config.name, "europarl7", options, sources)

    def fill(staging: Path) -> Report:
        opened = partial(open_stripped, config, files, staging / "work")
        return take_splits(opened, partial(judge, config), ("valid", "test"), staging)

    return output.make(fill, config.overwrite)


def open_stripped(
    config: Europarl7Config, files: Mapping[str, Mapping[str, Path]], work: Path, split: str
) -> Text:
    """A split's text without the spaces that some lines of the release end in."""
    work.mkdir(exist_ok=True)
    stripped = {lang: work / f"{split}.stripped.{lang}" for lang in files[split]}
    for lang, path in stripped.items():
        steps.write_lines(path, (line.strip() for line in read_lines(files[split][lang])))
    return open_text(stripped, config.form, work, split, find_marks(*stripped.values()))


if __name__ == "__main__":
    main()
