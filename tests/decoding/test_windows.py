"""Documents: translated in windows, and out come as many lines as went in, in their order."""

import io
import json
from itertools import product

import pytest

from reluformer.data.documents import MARK, parse_mark
from reluformer.data.vocabulary import train_vocabulary
from reluformer.data.windows import Window, WindowOptions
from reluformer.decoding.files import Input, translate_file, translate_stream
from reluformer.decoding.formats import as_fairseq, as_jsonl, as_text
from reluformer.decoding.hypothesis import Hypothesis
from reluformer.decoding.options import DecodeOptions
from reluformer.decoding.translate import Translator
from reluformer.decoding.treatment import Treatment
from reluformer.decoding.windows import WindowCounts, in_sentences, merge, seam, take_apart

pytestmark = pytest.mark.unchecked

SEP = 4


def hypothesis(*tokens: int) -> Hypothesis:
    scores = [-0.1 * (i + 1) for i in range(len(tokens) + 1)]
    return Hypothesis(list(tokens), sum(scores) / len(scores), sum(scores), scores)


def test_a_window_is_taken_apart_with_its_scores() -> None:
    first, second = take_apart(hypothesis(7, 8, SEP, 9), SEP, length_penalty=1.0)
    assert (first.tokens, second.tokens) == ([7, 8], [9])
    assert first.token_scores + second.token_scores == hypothesis(7, 8, SEP, 9).token_scores
    assert first.log_prob == pytest.approx(-0.1 - 0.2 - 0.3)
    assert second.score == pytest.approx((-0.4 - 0.5) / 2)


@pytest.mark.parametrize(
    "tokens", [(7, 8), (7, SEP, SEP, 8), (SEP, 7), (7, SEP), (7, SEP, 8, SEP, 9), ()]
)
def test_what_is_not_two_sentences(tokens: tuple[int, ...]) -> None:
    assert in_sentences([hypothesis(*tokens)], 2, SEP, 1.0) is None


def test_one_sentence_keeps_its_ranking_without_separators() -> None:
    ranking = [hypothesis(7, SEP, 8), hypothesis(9)]
    (kept,) = in_sentences(ranking, 1, SEP, 1.0) or []
    assert [one.tokens for one in kept] == [[7, 8], [9]]
    assert kept[0].log_prob == ranking[0].log_prob
    assert len(kept[0].token_scores) == 3


def test_seams() -> None:
    a, b, c, d = ([hypothesis(n)] for n in (7, 8, 9, 10))
    assert seam([a, b, c], [a, d, d]) == (0, True)
    assert seam([a, b, c], [d, b, c]) == (1, True)
    assert seam([a, b, c, d], [b, c, d, a]) == (2, False)
    assert seam([], []) == (0, False)
    counts = WindowCounts()
    windows = [Window(0, 3), Window(1, 5), Window(5, 6)]
    merged = merge(windows, [[a, b, c], [d, c, a, b], [c]], counts)
    assert merged == [a, b, c, a, b, c]
    assert (counts.seams, counts.agreed) == (1, 1)


@pytest.fixture(scope="module")
def documents(words) -> list[str]:
    """Marks, blank lines, and sentences of one to seven words."""
    lines = []
    for n in range(12):
        lines.append(str(parse_mark(f"<d {n // 4}>")))
        lines += ["" if i == 3 else words(50 * n + i, 1 + (n + i) % 7) for i in range(n)]
    return lines


@pytest.fixture(scope="module")
def document_vocabulary(tmp_path_factory, words):
    """One of documents."""
    path = tmp_path_factory.mktemp("vocabulary") / "text"
    path.write_text("\n".join(words(seed) for seed in range(300)) + "\n", encoding="utf-8")
    return train_vocabulary([path], size=80, documents=True).vocabulary


@pytest.fixture
def translator(transformer, document_vocabulary):
    def build(length=40, join=False, overlap=0, **settings):
        options = DecodeOptions(beam_size=2, max_len_a=0.0, max_len_b=6)
        windows = WindowOptions(length, join)
        treatment = Treatment("de", "en")
        return Translator(
            transformer(),
            document_vocabulary,
            document_vocabulary,
            treatment,
            options,
            windows=windows,
            overlap=overlap,
            **settings,
        )

    return build


def echo(translator, spoil=lambda row: row):
    """A model that repeats the source, or what `spoil` makes of it; the windows it was given."""
    seen = []

    def search(rows, numbers):
        seen.extend(rows)
        return [[hypothesis(*spoil(row))] for row in rows]

    translator._search = search
    return seen


def texts(translator, lines):
    return [translation.text for translation in translator.translate(lines)]


@pytest.mark.parametrize(
    ("length", "join", "overlap"),
    [(None, False, 0), *product((9, 30, 400), (False, True), (0, 1, 2))],
)
def test_an_echo_gives_back_the_document(translator, documents, length, join, overlap) -> None:
    subject = translator(length, join, overlap)
    seen = echo(subject)
    assert texts(subject, documents) == documents
    filled = sum(bool(line) and parse_mark(line) is None for line in documents)
    sentences = sum(row.count(SEP) + 1 for row in seen)
    if overlap and length == 30:
        assert filled < sentences <= filled + overlap * subject.counts.seams
    else:  # windows of 9 hold a sentence or two, those of 400 whole documents
        assert sentences >= filled if overlap else sentences == filled
    if length == 400:
        assert len(seen) == (3 if join else 11)  # a window for each day or non-empty document
    assert subject.counts.repaired == 0
    assert subject.counts.agreed == subject.counts.seams


def test_a_window_with_too_few_sentences_is_repaired(translator, documents) -> None:
    """Every window of three or more loses a separator; its halves are right in the end."""
    subject = translator(200)

    def lose_one(row):
        places = [i for i, token in enumerate(row) if token == SEP]
        return row if len(places) < 2 else row[: places[0]] + row[places[0] + 1 :]

    echo(subject, lose_one)
    assert texts(subject, documents) == documents
    assert subject.counts.repaired == subject.counts.windows - 1  # all but that of two sentences


def test_a_translation_that_reaches_the_trained_length_is_repaired(translator, documents) -> None:
    """Its end may be missing, though it has as many sentences as the source."""
    subject = translator(60, trained_length=59)
    echo(subject, lambda row: row + [7] * max(0, 59 - len(row)))
    whole = translator(60, trained_length=60)
    echo(whole, lambda row: row + [7] * max(0, 59 - len(row)))
    for one in (subject, whole):
        assert len(texts(one, documents)) == len(documents)
    assert subject.counts.repaired == subject.counts.windows > whole.counts.repaired == 0


def test_windows_leave_room_for_longer_translations(translator, documents) -> None:
    sizes = {}
    for ratio in (0.9, 1.0, 2.0):
        seen = echo(subject := translator(44, length_ratio=ratio))
        assert texts(subject, documents) == documents
        sizes[ratio] = max(len(row) + 1 for row in seen if SEP in row)
    assert sizes[0.9] <= 44
    assert sizes[1.0] <= 40
    assert sizes[2.0] <= 20 < sizes[0.9]


def test_windows_that_never_come_right_end_as_single_sentences(translator, documents) -> None:
    subject = translator(200)
    echo(subject, lambda row: [SEP, *row])
    assert texts(subject, documents) == documents


@pytest.mark.parametrize("overlap", [0, 2])
def test_a_random_model_keeps_lines_in_place(translator, documents, overlap) -> None:
    """Whatever a model writes; and batches make no difference."""
    subject = translator(30, overlap=overlap)
    found = texts(subject, documents)
    assert [bool(line) for line in found] == [bool(line) for line in documents]
    marks = [line for line in documents if parse_mark(line)]
    assert [line for line in found if parse_mark(line)] == marks
    assert texts(translator(30, overlap=overlap, max_tokens=20), documents) == found


def test_files_hold_whole_documents(translator, documents, tmp_path) -> None:
    source, output = tmp_path / "in.de", tmp_path / "out.en"
    source.write_text("\n".join(documents) + "\n", encoding="utf-8")
    subject = translator(200)
    seen = echo(subject)
    timing = translate_file(subject, Input.scan(source, None), as_text, 10, output)
    assert output.read_text(encoding="utf-8") == source.read_text(encoding="utf-8")
    assert len(seen) == 11  # no document was cut where a buffer was full
    assert timing.windows.windows == 10


def test_windows_are_counted_over_an_interruption(translator, documents, tmp_path) -> None:
    source, output = tmp_path / "in.de", tmp_path / "out.en"
    source.write_text("\n".join(documents) + "\n", encoding="utf-8")

    def stopping(translation, reference=None):
        if translation.number > 50:
            raise KeyboardInterrupt
        return as_text(translation)

    stopping.__name__ = as_text.__name__
    scanned = Input.scan(source, None)
    with pytest.raises(KeyboardInterrupt):
        translate_file(translator(30), scanned, stopping, 10, output)
    continued = translate_file(translator(30), scanned, as_text, 10, output)
    whole = translate_file(translator(30), scanned, as_text, 10, tmp_path / "whole")
    assert continued.windows == whole.windows
    assert continued.lines < whole.lines
    assert output.read_bytes() == (tmp_path / "whole").read_bytes()


def test_formats_of_documents(translator, documents) -> None:
    subject = translator(30)
    translations = subject.translate(documents)
    records = [json.loads(as_jsonl(one)) for one in translations]
    assert [record.get("document") for record in records[:2]] == ["0", "0"]
    assert "hypotheses" not in records[0]
    fairseq = "".join(as_fairseq(one) for one in translations)
    assert MARK[:2] not in fairseq
    filled = [line for line in documents if parse_mark(line) is None]
    assert fairseq.count("H-") == len(filled)


def test_a_stream_of_documents(translator, documents, capfdbinary) -> None:
    subject = translator(200)
    echo(subject)
    text = ("\n".join(documents) + "\n").encode()
    translate_stream(subject, io.BytesIO(text), as_text, 3, None)
    assert capfdbinary.readouterr().out == text


def test_positions_are_extrapolated_on_request(translator, words) -> None:
    long = " ".join(words(n, 6) for n in range(12))
    assert translator(None).translate([long])[0].dropped
    subject = translator(None, long_input="extrapolate")
    assert subject.translate([long])[0].dropped == 0
