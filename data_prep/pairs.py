"""Any parallel text, line n of one file translating line n of the other, made ready for a run."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import steps
from omegaconf import MISSING
from output import Output, Report, check_name
from steps import Fate, Side, Sides

from reluformer.cli.app import command
from reluformer.console import console
from reluformer.errors import UserError

Files = dict[str, tuple[Path, Path]]  # split (or "all") -> source and target file
Opened = Callable[[str], tuple[Sides, int]]  # split -> its sides and number of pairs

SPLITS = ("train", "valid", "test")
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
        for setting, least in (
            ("valid_size", 1),
            ("test_size", 1),
            ("every_nth", 2),
            ("max_length", 1),
            ("max_ratio", 1),
            ("workers", 1),
        ):
            value = getattr(self, setting)
            if value is not None and value < least:
                raise UserError(f"`{setting}` must be at least {least}, but is {value}")

    @property
    def langs(self) -> tuple[str, str]:
        return self.source_lang, self.target_lang


@command("data_prep/pairs", PairsConfig)
def main(config: PairsConfig) -> None:
    """Make any parallel text ready: clean, tokenise if asked, and split, or take given splits.

    Reads two files, plain or gzipped, or a folder that holds train, valid and test files. Writes
    data/<name>/text with train, valid and test, and prepare.json, which says how they were made.

    Examples:
        python data_prep/pairs.py source=a.de target=a.en name=mine source_lang=de target_lang=en
        python data_prep/pairs.py folder=multi30k name=multi30k source_lang=en target_lang=de
            splits.valid=val splits.test=test_2016_flickr moses=true lowercase=true
    """
    files = find_folder_files(config) if config.folder else find_two_files(config)
    # All files are checked before any work, as tokenising the first ones can take long.
    totals = {split: steps.count_pairs(*pair) for split, pair in files.items()}
    options = {key: value for key, value in asdict(config).items() if key not in NOT_IN_THE_TEXT}
    sources = {
        f"{split}.{lang}": path
        for split, pair in files.items()
        for lang, path in zip(config.langs, pair, strict=True)
    }
    output = Output(config.name, "pairs", options, sources)

    def fill(staging: Path) -> Report:
        opened = partial(open_split, config, staging, files, totals)
        write = split_all if config.folder is None else take_splits
        return write(config, opened, staging)

    report = output.make(fill, config.overwrite)
    steps.print_counts(report["counts"])
    console.print(f"prepared {output.folder}")


def find_two_files(config: PairsConfig) -> Files:
    files = {"source": Path(config.source or ""), "target": Path(config.target or "")}
    for setting, path in files.items():
        if not path.is_file():
            raise UserError(f"`{setting}` names {path}, which is not a file")
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
    for path in (folder / f"{stem}.{lang}", folder / f"{stem}.{lang}.gz"):
        if path.is_file():
            return path
    there = sorted(path.name for path in folder.iterdir() if f".{lang}" in path.name)
    found = f"it holds {', '.join(there[:12])}" if there else f"nothing in it ends in .{lang}"
    remedy = f"set splits.{split}=... to the name before .{lang}" if split in SPLITS else "mend it"
    raise UserError(f"no {stem}.{lang} or {stem}.{lang}.gz in {folder}; {found}; {remedy}")


def open_split(
    config: PairsConfig, staging: Path, files: Files, totals: Mapping[str, int], split: str
) -> tuple[Sides, int]:
    """The two sides of a split, tokenised if asked for, and their number of lines."""

    def side(lang: str, raw: Path) -> Side:
        if not config.moses:
            return Side(lang, raw, None, config.lowercase)
        tokens = staging / "work" / f"{split}.{lang}"
        steps.tokenise_file(raw, tokens, lang, config.workers, totals[split])
        return Side(lang, raw, tokens, config.lowercase)

    source, target = files[split]
    sides = side(config.source_lang, source), side(config.target_lang, target)
    return sides, totals[split]


def split_all(config: PairsConfig, opened: Opened, staging: Path) -> Report:
    """Judge all pairs, then draw valid and test; no held-out pair also stands in train."""
    sides, total = opened("all")
    lengths, digests = steps.measure(sides, total)
    fates = clean(config, lengths, digests)
    splits = (Fate.VALID, Fate.TEST)
    if config.every_nth is not None:
        steps.split_every_nth(fates, config.every_nth, splits)
    else:
        sizes = (config.valid_size, config.test_size)
        steps.split_randomly(fates, dict(zip(splits, sizes, strict=True)), config.seed)
    steps.mark_leaked(fates, digests)
    counts: Report = {"read": total, "dropped": steps.count_dropped(fates)}
    for fate in (Fate.TRAIN, Fate.VALID, Fate.TEST):
        split, chosen = fate.name.lower(), fates == fate
        counts[split] = steps.write_split(sides, staging, split, chosen, lengths)
    return counts


def take_splits(config: PairsConfig, opened: Opened, staging: Path) -> Report:
    """Clean the training pairs; take valid and test as they are, and count those seen in train."""
    sides, total = opened("train")
    lengths, digests = steps.measure(sides, total)
    fates = clean(config, lengths, digests)
    chosen = fates == Fate.TRAIN
    seen = digests[chosen]
    counts: Report = {"read": total, "dropped": steps.count_dropped(fates)}
    counts["train"] = steps.write_split(sides, staging, "train", chosen, lengths)
    for split in ("valid", "test", *config.extra_tests):
        sides, total = opened(split)
        lengths, digests = steps.measure(sides, total)
        every = np.ones(total, dtype=bool)
        counts[split] = steps.write_split(sides, staging, split, every, lengths)
        counts[split]["pairs_also_in_train"] = int(np.isin(digests, seen).sum())
    return counts


def clean(config: PairsConfig, lengths: steps.Lengths, digests: np.ndarray) -> steps.Fates:
    fates = steps.judge_lengths(lengths, config.max_length, config.max_ratio)
    if config.deduplicate:
        steps.mark_duplicates(fates, digests)
    return fates


if __name__ == "__main__":
    main()
