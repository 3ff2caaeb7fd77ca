"""Any parallel text, line n of one file translating line n of the other, made ready for a run."""

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import steps
from document_report import print_documents
from marks import draw_documents, find_marks, split_documents
from omegaconf import MISSING
from output import Output, Report, check_least, check_name
from parallel_text import Form, Text, open_text, take_splits
from steps import Fate, Fates

from reluformer.cli.app import command
from reluformer.console import console
from reluformer.data.text import plain_or_compressed
from reluformer.errors import UserError

Files = dict[str, tuple[Path, Path]]  # split (or "all") -> source and target file

SPLITS = ("train", "valid", "test")
HELD_OUT = (Fate.VALID, Fate.TEST)
# Settings that don't change what is written. The languages are known from the sources' names, and
# their direction makes no difference: one folder serves both.
NOT_IN_THE_TEXT = {"name", "source_lang", "target_lang", "source", "target", "folder"}
NOT_IN_THE_TEXT |= {"workers", "overwrite"}


@dataclass
class SplitNames:
    """What a folder's files are called before the language suffix."""

    train: str
    valid: str
    test: str


@dataclass
class PairsConfig:
    """Settings of data_prep/pairs.py; conf/data_prep/pairs.yaml explains each."""

    name: str
    source_lang: str
    target_lang: str
    source: str | None
    target: str | None
    folder: str | None
    extra_tests: list[str]
    valid_size: int
    test_size: int
    seed: int
    every_nth: int | None
    moses: bool
    lowercase: bool
    max_length: int | None
    max_ratio: float | None
    deduplicate: bool
    workers: int | None
    overwrite: bool
    splits: SplitNames = MISSING

    def __post_init__(self) -> None:
        two_files = [setting for setting in (self.source, self.target) if setting is not None]
        if len(two_files) != (2 if self.folder is None else 0):
            raise UserError("give either `source` and `target` (two files) or `folder`")
        if self.source_lang == self.target_lang:
            raise UserError(f"`source_lang` and `target_lang` are both {self.source_lang!r}")
        for setting in ("name", "source_lang", "target_lang"):
            check_name(setting, getattr(self, setting))
        for test in self.extra_tests:
            check_name("extra_tests", test)
            if test in SPLITS or test.endswith(".raw"):
                raise UserError(f"`extra_tests` can't hold {test!r}, a name that is taken")
        if self.folder is None and self.extra_tests:
            raise UserError("`extra_tests` are for `folder`, which holds them")
        if self.folder is not None and self.every_nth is not None:
            raise UserError("`every_nth` is for two files: `folder` has its splits already")
        check_least(self, 1, "valid_size", "test_size", "max_length", "max_ratio", "workers")
        check_least(self, 2, "every_nth")

    @property
    def langs(self) -> tuple[str, str]:
        return self.source_lang, self.target_lang

    @property
    def sizes(self) -> dict[Fate, int]:
        """How many pairs to draw for the held-out splits."""
        return {Fate.VALID: self.valid_size, Fate.TEST: self.test_size}


@command("data_prep/pairs", PairsConfig)
def main(config: PairsConfig) -> None:
    """Make any parallel text ready: clean, tokenise if asked, and split, or take given splits.

    Reads two files, plain or gzipped, or a folder that holds train, valid and test files. Writes
    data/<name>/text with train, valid and test, and prepare.json, which says how they were made.
    Lines `<d>` or `<d NAME>` on the same lines of both sides, also the first, open documents: the
    marks are kept, and documents are drawn whole, until they hold `valid_size` pairs or more.

    Examples:
        python data_prep/pairs.py source=a.de target=a.en name=mine source_lang=de target_lang=en
        python data_prep/pairs.py folder=multi30k name=multi30k source_lang=en target_lang=de
            splits.valid=val splits.test=test_2016_flickr moses=true lowercase=true
    """
    files = find_folder_files(config) if config.folder else find_two_files(config)
    # All files are checked before any work, as tokenising the first ones can take long.
    marks = {split: find_marks(*pair) for split, pair in files.items()}
    options = {key: value for key, value in asdict(config).items() if key not in NOT_IN_THE_TEXT}
    if any(found.any() for found in marks.values()):
        options["documents"] = True  # so that text made when marks were no marks isn't reused
    sources = {
        f"{split}.{lang}": path
        for split, pair in files.items()
        for lang, path in zip(config.langs, pair, strict=True)
    }
    output = Output(config.name, "pairs", options, sources)

    def opened(staging: Path, split: str) -> Text:
        paths = dict(zip(config.langs, files[split], strict=True))
        form = Form(config.moses, config.lowercase, config.workers)
        return open_text(paths, form, staging / "work", split, marks[split])

    def fill(staging: Path) -> Report:
        if config.folder is None:
            return split_all(config, opened(staging, "all"), staging)
        held_out = ("valid", "test", *config.extra_tests)
        return take_splits(partial(opened, staging), partial(judge, config), held_out, staging)

    report = output.make(fill, config.overwrite)
    steps.print_counts(report["counts"])
    print_documents(report["counts"])
    console.print(f"prepared {output.folder}")


def find_two_files(config: PairsConfig) -> Files:
    files = {"source": Path(config.source or ""), "target": Path(config.target or "")}
    for setting, path in files.items():
        if not path.is_file():
            raise UserError(f"`{setting}` names {path}, which is not a file")
    if files["source"].samefile(files["target"]):
        raise UserError(f"`source` and `target` are the same file, {files['source']}")
    return {"all": (files["source"], files["target"])}


def find_folder_files(config: PairsConfig) -> Files:
    folder = Path(config.folder or "")
    if not folder.is_dir():
        raise UserError(f"`folder` names {folder}, which is not a folder")
    stems = asdict(config.splits) | {test: test for test in config.extra_tests}
    return {
        split: (
            _find_file(folder, stem, config.source_lang, split),
            _find_file(folder, stem, config.target_lang, split),
        )
        for split, stem in stems.items()
    }


def _find_file(folder: Path, stem: str, lang: str, split: str) -> Path:
    path = plain_or_compressed(folder / f"{stem}.{lang}")
    if path.is_file():
        return path
    there = sorted(path.name for path in folder.iterdir() if f".{lang}" in path.name)
    found = f"it holds {', '.join(there[:12])}" if there else f"nothing in it ends in .{lang}"
    remedy = f"set splits.{split}=... to the name before .{lang}" if split in SPLITS else "mend it"
    raise UserError(f"no {stem}.{lang} or {stem}.{lang}.gz in {folder}; {found}; {remedy}")


def split_all(config: PairsConfig, text: Text, staging: Path) -> Report:
    """Judge all pairs, then draw valid and test; no held-out pair also stands in train.

    Documents are drawn first, and only those for training are judged: the others stay whole, but
    for pairs that are empty on a side.
    """
    judged = judge(config, text)
    fates = text.judge(None, None) if text.has_documents else judged
    if text.has_documents:
        split_documents(fates, text.marks, partial(deal_documents, config))
        training = fates == Fate.TRAIN
        fates[training] = judged[training]
    elif config.every_nth is not None:
        steps.split_every_nth(fates, config.every_nth, HELD_OUT)
    else:
        steps.split_randomly(fates, config.sizes, config.seed)
    steps.mark_leaked(fates, text.digests, text.has_documents)
    counts: Report = {"read": text.pairs, "dropped": steps.count_dropped(fates)}
    for fate in (Fate.TRAIN, *HELD_OUT):
        split = fate.name.lower()
        counts[split] = text.write_split(staging, split, fates == fate)
    return counts


def deal_documents(config: PairsConfig, fates: Fates, sizes: np.ndarray) -> None:
    """Split documents of so many kept pairs as single pairs would be."""
    if config.every_nth is not None:
        steps.split_every_nth(fates, config.every_nth, HELD_OUT)
    else:
        draw_documents(fates, sizes, config.sizes, config.seed)


def judge(config: PairsConfig, text: Text) -> Fates:
    fates = text.judge(config.max_length, config.max_ratio)
    if config.deduplicate:
        steps.mark_duplicates(fates, text.digests)
    return fates


if __name__ == "__main__":
    main()
