"""An official-looking release of Europarl v7, with the real one's irregularities."""

import io
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

LANGS = ("de", "en")
DAYS = ["96-04-15", "99-10-04", "00-01-17", "00-10-02", "00-10-24", "00-11-13", "00-12-14"]
DAYS += ["01-02-03", "03-09-01", "04-05-06", "09-04-21"]
BY_CHAPTER = "09-04-21"  # this day has a file for each chapter
NOT_IN_SOURCE, NOT_IN_PAIRS, ENGLISH_ONLY = "04-05-06", "03-09-01", "01-02-03"
SHORT = [
    ("(Beifall)", "(Applause)"),
    ("Herr Präsident!", "Mr President!"),
    ("Danke.", "Thank you."),
]

OPENING = ("Die Sitzung wird um neun Uhr eröffnet.", "The sitting is opened at nine o'clock.")
WORDS = ["Rat", "Haus", "Frage", "Bericht", "Kommission", "Mitgliedstaat"]

Pair = tuple[str, str]
Key = tuple[str, str, str]  # day, chapter, speaker


@dataclass
class Release:
    """An official-looking release, and the document that each line of the aligned files is from."""

    random: Random
    days: list[str] = field(default_factory=lambda: DAYS)
    gaps: float = 0.03  # the share of sentences that a side of the source texts or the pairs lack
    merges: float = 0.1  # the share of pairs of two sentences on a side
    files: dict[str, list[str]] = field(default_factory=dict)  # txt/de/ep-... -> lines
    pairs: list[Pair] = field(default_factory=list)
    truth: list[Key | None] = field(default_factory=list)  # None: in no source text
    said: int = 0

    def __post_init__(self) -> None:
        for day in sorted(self.days):  # by name, as the official tools went through the files
            for chapter in range(1, 4):
                name = f"ep-{day}-{chapter:03d}.txt" if day == BY_CHAPTER else f"ep-{day}.txt"
                self.add_chapter(day, name, chapter)
        for lang in LANGS:
            self.files.pop(f"txt/{lang}/ep-{NOT_IN_SOURCE}.txt", None)
        self.files.pop(f"txt/de/ep-{ENGLISH_ONLY}.txt", None)
        for line in [("", "A line without any German."), ("<SPEAKER ID=1>", '<SPEAKER ID="1">')]:
            self.insert(line)
        for number in range(5):
            self.insert((f"Diesen Satz {number} sagte niemand.", f"Nobody said sentence {number}."))

    def insert(self, line: Pair) -> None:
        """Put a line that no source text has between two of a document."""
        inside = [i for i in range(1, len(self.truth)) if self.truth[i] == self.truth[i - 1]]
        place = self.random.choice(inside)
        self.pairs.insert(place, line)
        self.truth.insert(place, self.truth[place] if "<" not in line[0] and all(line) else None)

    def add_chapter(self, day: str, name: str, chapter: int) -> None:
        number = f"{chapter:03d}" if day == BY_CHAPTER else str(chapter)
        self.write(name, f"<CHAPTER ID={number}>", f'<CHAPTER ID="{number}">')
        first = 10 * chapter
        title = f"Titel {day} {chapter}", f"Title {day} {chapter}"
        self.say(name, (day, str(chapter), str(first)), title)
        self.write(name, "", "")
        self.say(name, (day, str(chapter), str(first)), OPENING)
        for speaker in range(first, first + self.random.randint(2, 4)):
            self.write(name, *(self.speaker_tag(speaker) for _ in LANGS))
            self.add_turn(name, (day, str(chapter), str(speaker)))

    def speaker_tag(self, number: int) -> str:
        quoted = self.random.choice([f"ID={number}", f'ID="{number}"'])
        attributes = [quoted, 'NAME="President"', 'LANGUAGE="EN"'][: self.random.randint(1, 3)]
        self.random.shuffle(attributes)
        return f"<SPEAKER {' '.join(attributes)}>"

    def add_turn(self, name: str, key: Key) -> None:
        for paragraph in range(self.random.randint(1, 3)):
            if paragraph:
                self.write(name, "<P>", "<P>")
            sentences = [self.sentence() for _ in range(self.random.randint(1, 4))]
            if self.random.random() < 0.4:
                sentences.insert(0, self.random.choice(SHORT[1:]))
            if self.random.random() < 0.3:
                sentences.append(SHORT[0])
            self.say(name, key, *sentences)

    def sentence(self) -> Pair:
        """A sentence that nobody says twice, and a translation of like length."""
        self.said += 1
        words = self.random.choices(WORDS, k=8)
        start = f"Satz {self.said} {words[0]}", f"Clause {self.said} {words[0]}"
        end = " ".join(words[1:])
        if self.random.random() < self.merges:
            return f"{start[0]}.  {end}.", f"{start[1]} and {end}."
        return f"{start[0]} {end}.", f"{start[1]} {end}."

    def say(self, name: str, key: Key, *sentences: Pair) -> None:
        """A paragraph in both source texts, and its pairs."""
        kept = [
            [text for text in texts if self.random.random() >= self.gaps]
            for texts in zip(*sentences, strict=True)
        ]
        self.write(name, *(" ".join(texts) for texts in kept))
        for pair in sentences:
            if key[0] != NOT_IN_PAIRS and self.random.random() >= self.gaps:
                self.pairs.append(tuple(" ".join(text.split()) for text in pair))
                self.truth.append(None if key[0] == NOT_IN_SOURCE else key)

    def write(self, name: str, *lines: str) -> None:
        for lang, line in zip(LANGS, lines, strict=True):
            self.files.setdefault(f"txt/{lang}/{name}", []).append(line)

    def unpack(self, folder: Path = Path()) -> list[str]:
        """Write everything as plain files; return the arguments that name them."""
        for name, lines in self.files.items():
            write(folder / "release" / name, lines)
        for lang, lines in zip(LANGS, zip(*self.pairs, strict=True), strict=True):
            write(folder / f"release/europarl-v7.de-en.{lang}", lines)
        return ["pairs=release", "source=release"]

    def pack(self) -> list[str]:
        """Write the two archives of the official release, with other languages and tools."""
        self.unpack()
        with tarfile.open("de-en.tgz", "w:gz") as tar:
            for lang in LANGS:
                name = f"europarl-v7.de-en.{lang}"
                tar.add(f"release/{name}", name)
        with tarfile.open("europarl.tgz", "w:gz") as tar:
            for name in ("tools/txt/readme", "txt/fr/ep-96-04-15.txt", "txt/de/../../../evil.txt"):
                tar.addfile(tarfile.TarInfo(name), io.BytesIO())
            tar.add("release/txt", "txt")
        return ["pairs=de-en.tgz", "source=europarl.tgz"]


def write(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def read(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").split("\n")[:-1]
