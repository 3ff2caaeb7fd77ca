"""IWSLT14 German-English, prepared as the field's publications do.

Source: prepare-iwslt14.sh of fairseq. Differs from it in: tokens are made by sacremoses instead of
Moses' scripts, and subword units are left to reluformer-preprocess.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from xml.sax.saxutils import unescape

import numpy as np
import parallel_text
import steps
from archive import extract_members
from download import Download
from marks import find_marks
from output import Output, Report, check_name
from parallel_text import Side, Text
from steps import Fate

from reluformer.cli.app import command
from reluformer.console import console
from reluformer.data.text import count_lines, read_lines
from reluformer.errors import UserError

LANGS = ("de", "en")
TEST_SETS = ("TED.dev2010", "TEDX.dev2012", "TED.tst2010", "TED.tst2011", "TED.tst2012")
MAX_LENGTH, MAX_RATIO, EVERY_NTH = 175, 1.5, 23
MAX_ARCHIVE_BYTES, MAX_UNPACKED_BYTES = 200_000_000, 1_000_000_000

# Two checkouts of Moses, and so two publications, differ by eleven training pairs.
PUBLISHED = {
    "train pairs": (160_239, 160_250),
    "valid pairs": (7_283, 7_284),
    "test pairs": (6_750,),
    "test tokens en": (131_141,),
}

DROPPED_LINES = re.compile("<url>|<talkid>|<keywords>")
DROPPED_TAGS = re.compile("</?title>|</?description>")
SEGMENT = re.compile(r'<seg id="[0-9]*">\s*(.*?)\s*</seg>')


@dataclass
class Iwslt14Config:
    """Settings of data_prep/iwslt14.py; conf/data_prep/iwslt14.yaml explains each."""

    name: str
    archive: str | None
    url: str
    sha256: str | None
    lowercase: bool
    workers: int | None
    overwrite: bool

    def __post_init__(self) -> None:
        check_name("name", self.name)
        if self.workers is not None and self.workers < 1:
            raise UserError(f"`workers` must be at least 1, but is {self.workers}")


@command("data_prep/iwslt14", Iwslt14Config)
def main(config: Iwslt14Config) -> None:
    """Make IWSLT14 German-English ready, as the field's publications do.

    Downloads the archive, or takes the one given; strips the markup, tokenises with Moses' rules,
    drops training pairs of over 175 tokens or over 1.5 times the other's length, lower-cases, and
    splits: every 23rd training pair is validation, and five dev and test sets are the test set.
    Writes data/<name>/text, and compares the counts with the published ones.

    Examples:
        python data_prep/iwslt14.py
        python data_prep/iwslt14.py archive=de-en.tgz
    """
    archive = find_archive(config)
    options = {"lowercase": config.lowercase}
    output = Output(config.name, "iwslt14", options, {"archive": archive})
    report = output.make(partial(fill, config, archive), config.overwrite)
    steps.print_counts(report["counts"])
    print_comparison(report["counts"])
    console.print(f"prepared {output.folder}")


def find_archive(config: Iwslt14Config) -> Path:
    """The archive that was given, or the downloaded one in data/<name>/download."""
    if config.archive is None:
        file = Path("data", config.name, "download", "de-en.tgz")
        return Download(config.url, file, MAX_ARCHIVE_BYTES, config.sha256).fetch()
    archive = Path(config.archive)
    if not archive.is_file():
        raise UserError(f"`archive` names {archive}, which is not a file")
    return archive


def fill(config: Iwslt14Config, archive: Path, staging: Path) -> Report:
    work = staging / "work"
    work.mkdir(exist_ok=True)
    members = {name: work / Path(name).name for lang in LANGS for name in member_names(lang)}
    extract_members(archive, members, MAX_UNPACKED_BYTES)
    counts = fill_train_and_valid(config, archive, work, staging)
    counts["test"] = fill_test(config, archive, work, staging)
    counts["published"] = compare_with_published(counts)
    return counts


def member_names(lang: str) -> list[str]:
    return [f"de-en/train.tags.de-en.{lang}", *(f"de-en/{xml_name(s, lang)}" for s in TEST_SETS)]


def xml_name(test_set: str, lang: str) -> str:
    return f"IWSLT14.{test_set}.de-en.{lang}.xml"


def fill_train_and_valid(config: Iwslt14Config, archive: Path, work: Path, staging: Path) -> Report:
    for lang in LANGS:
        steps.write_lines(work / f"train.{lang}", training_lines(work / f"train.tags.de-en.{lang}"))
    lines = [count_lines(work / f"train.{lang}") for lang in LANGS]
    check_sides(archive, "train.tags.de-en", lines)
    text = tokenised_text(config, work, "train", raw="train")
    fates = text.judge(MAX_LENGTH, MAX_RATIO)
    steps.split_every_nth(fates, EVERY_NTH, (Fate.VALID,))
    counts: Report = {"read": text.pairs, "dropped": steps.count_dropped(fates)}
    for fate in (Fate.TRAIN, Fate.VALID):
        split = fate.name.lower()
        counts[split] = text.write_split(staging, split, fates == fate)
    leaked = np.isin(text.digests[fates == Fate.VALID], text.digests[fates == Fate.TRAIN])
    counts["valid"]["pairs_also_in_train"] = int(leaked.sum())
    return counts


def fill_test(config: Iwslt14Config, archive: Path, work: Path, staging: Path) -> Report:
    segments: dict[str, list[str]] = {lang: [] for lang in LANGS}
    for name in TEST_SETS:
        talks = [list(read_segments(work / xml_name(name, lang))) for lang in LANGS]
        check_sides(archive, f"IWSLT14.{name}", [len(lines) for lines in talks])
        for lang, lines in zip(LANGS, talks, strict=True):
            segments[lang] += lines
    for lang, lines in segments.items():
        # The publications tokenise the XML's text with its entities; what a reader sees, and what
        # detokenised scores need, is without them.
        steps.write_lines(work / f"test.{lang}", (line.replace("’", "'") for line in lines))
        steps.write_lines(work / f"test.raw.{lang}", map(unescape_xml, lines))
    text = tokenised_text(config, work, "test", raw="test.raw")
    return text.write_split(staging, "test", ~text.marks)


def check_sides(archive: Path, what: str, counts: list[int]) -> None:
    if counts[0] != counts[1]:
        found = f"{counts[0]:,} lines of text in de, but {counts[1]:,} in en"
        raise UserError(f"{archive}: {what} has {found}; the archive is not the published one")


def tokenised_text(config: Iwslt14Config, work: Path, split: str, raw: str) -> Text:
    """The text of work/<split>, tokenised; work/<raw> is the text as it is read by people."""
    marks = find_marks(work / f"{split}.de", work / f"{split}.en")

    def side(lang: str) -> Side:
        tokens = work / f"{split}.tokens.{lang}"
        path = work / f"{split}.{lang}"
        parallel_text.tokenise_file(path, tokens, lang, config.workers, len(marks))
        return Side(lang, work / f"{raw}.{lang}", tokens, config.lowercase)

    return parallel_text.measure((side("de"), side("en")), marks)


def training_lines(path: Path) -> Iterator[str]:
    """The talks' lines with their titles and descriptions, but without other markup lines.

    Speakers, reviewers and translators stay in, tags and all, as they do in the publications.
    """
    for line in read_lines(path):
        if not DROPPED_LINES.search(line):
            yield DROPPED_TAGS.sub("", line).strip()


def read_segments(path: Path) -> Iterator[str]:
    """The text of each `<seg>`, one a line, with the XML's entities left as they are."""
    for number, line in enumerate(read_lines(path), start=1):
        if "<seg id" not in line:
            continue
        segment = SEGMENT.search(line)
        if segment is None:
            wanted = 'a line <seg id="1"> text </seg>'
            raise UserError(f"{path.name}, line {number}: {line[:60]!r} is not {wanted}")
        yield segment[1]


def unescape_xml(text: str) -> str:
    return unescape(text, {"&quot;": '"', "&apos;": "'"})


def compare_with_published(counts: Report) -> Report:
    """Each published count: ours, those accepted, and whether they agree."""
    ours = {
        **{f"{split} pairs": counts[split]["pairs"] for split in ("train", "valid", "test")},
        "test tokens en": counts["test"]["tokens"]["en"],
    }
    return {
        what: {"ours": ours[what], "published": list(accepted), "same": ours[what] in accepted}
        for what, accepted in PUBLISHED.items()
    }


def print_comparison(counts: Report) -> None:
    for what, row in counts["published"].items():
        numbers = " or ".join(f"{number:,}" for number in row["published"])
        verdict = "as published" if row["same"] else f"DIFFERS from the published {numbers}"
        console.print(f"{what}: {row['ours']:,}, {verdict}")
    if not counts["published"]["train pairs"]["same"]:
        console.print("This is not the official training text: scores don't compare with others'.")


if __name__ == "__main__":
    main()
