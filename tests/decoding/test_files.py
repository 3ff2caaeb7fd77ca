"""Files: whole or not there, continued where they stopped, never mixed up."""

import io

import pytest
from filelock import FileLock

from reluformer.decoding.files import Input, translate_file, translate_stream
from reluformer.decoding.formats import as_fairseq, as_jsonl, as_text
from reluformer.errors import UserError


@pytest.fixture
def source(tmp_path, words):
    """25 lines, some blank, the last without its end."""
    path = tmp_path / "in.de"
    path.write_text("\n".join("" if n % 7 == 0 else words(n, 3) for n in range(25)), "utf-8")
    return path


def run(translator, source, output, form=as_text, buffer_lines=10, reference=None):
    translate_file(translator, Input.scan(source, reference), form, buffer_lines, output)


def stop_at(line):
    """A format called like `as_text` that is interrupted at a line."""

    def as_text(translation, reference=None):
        if translation.number == line:
            raise KeyboardInterrupt
        return translation.text + "\n"

    return as_text


@pytest.mark.check("B3")
def test_every_line_has_one(translator, source, tmp_path):
    run(translator(), source, tmp_path / "new" / "out.en")
    lines = (tmp_path / "new" / "out.en").read_text(encoding="utf-8").split("\n")
    assert len(lines) == 26
    assert [n for n, line in enumerate(lines) if not line] == [0, 7, 14, 21, 25]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out.en"]


def test_continues_where_it_was_stopped(translator, source, tmp_path):
    """Even if a half-written buffer follows what is certain."""
    run(translator(), source, tmp_path / "whole")
    output = tmp_path / "out.en"
    output.write_text("an older translation\n")
    with pytest.raises(KeyboardInterrupt):
        run(translator(), source, output, stop_at(23))
    assert output.read_text() == "an older translation\n"
    partial = tmp_path / "out.en.partial"
    assert partial.read_bytes().count(b"\n") == 20
    with partial.open("a") as file:
        file.write("half a li")

    translated = []
    subject = translator()
    original = subject.translate
    subject.translate = lambda lines, *rest: translated.extend(lines) or original(lines, *rest)
    run(subject, source, output)
    assert len(translated) == 5
    assert output.read_bytes() == (tmp_path / "whole").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.de", "out.en", "whole"]


@pytest.mark.parametrize("change", ["input", "options", "format", "weights"])
def test_does_not_continue_something_else(translator, source, tmp_path, change):
    output = tmp_path / "out.en"
    with pytest.raises(KeyboardInterrupt):
        run(translator(), source, output, stop_at(23))
    kept = (tmp_path / "out.en.partial").read_bytes()
    subject, form = translator(), as_text
    if change == "input":
        source.write_text(source.read_text("utf-8") + "!", "utf-8")
    elif change == "options":
        subject = translator(options={"beam_size": 2})
    elif change == "format":
        form = as_jsonl
    else:
        subject.model.output_projection.weight.data[5, 5] += 1
    with pytest.raises(UserError, match="belongs to another command"):
        run(subject, source, output, form)
    assert (tmp_path / "out.en.partial").read_bytes() == kept
    assert not output.exists()


@pytest.mark.check("A7")
def test_what_was_changed_meanwhile_is_not_continued(translator, source, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(translator(), source, tmp_path / "out.en", stop_at(23))
    partial = tmp_path / "out.en.partial"
    partial.write_bytes(b"X" + partial.read_bytes()[1:])
    with pytest.raises(UserError, match="is not as it was written"):
        run(translator(), source, tmp_path / "out.en")


def test_a_stream_does_not_write_over_an_unfinished_file(translator, source, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(translator(), source, tmp_path / "out.en", stop_at(23))
    with pytest.raises(UserError, match="belongs to another command"):
        translate_stream(translator(), io.BytesIO(b"haus\n"), as_text, 10, tmp_path / "out.en")


def test_one_command_at_a_time(translator, source, tmp_path):
    with (
        FileLock(tmp_path / "out.en.partial.lock"),
        pytest.raises(UserError, match="is being written by another command"),
    ):
        run(translator(), source, tmp_path / "out.en")


def test_nothing_is_left_of_what_never_began(translator, source, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(translator(), source, tmp_path / "out.en", stop_at(2))
    assert [path.name for path in tmp_path.iterdir()] == ["in.de"]


def test_references_stand_beside_their_lines(translator, source, tmp_path):
    reference = tmp_path / "ref.en"
    reference.write_text("".join(f"reference {n}\n" for n in range(25)))
    run(translator(), source, tmp_path / "out", as_fairseq, reference=reference)
    lines = (tmp_path / "out").read_text("utf-8").split("\n")
    assert [line for line in lines if line.startswith("T-")] == [
        f"T-{n}\treference {n}" for n in range(25)
    ]


@pytest.mark.check("B1")
def test_references_must_be_as_many(translator, source, tmp_path):
    reference = tmp_path / "ref.en"
    reference.write_text("one\ntwo\n")
    with pytest.raises(UserError, match=r"in\.de has 25 lines, but .*ref\.en has 2"):
        Input.scan(source, reference)


@pytest.mark.check("B2")
def test_wrong_bytes_are_named_before_anything_is_done(translator, source, tmp_path):
    raw = source.read_bytes().split(b"\n")
    raw[15] = b"abc\xff"
    source.write_bytes(b"\n".join(raw))
    with pytest.raises(UserError, match=r"in\.de, line 16, byte 4: not valid UTF-8"):
        run(translator(), source, tmp_path / "out.en")
    assert [path.name for path in tmp_path.iterdir()] == ["in.de"]


@pytest.mark.check("B3")
def test_an_empty_file_is_refused(translator, tmp_path):
    (tmp_path / "in.de").write_bytes(b"")
    with pytest.raises(UserError, match=r"in\.de is empty: there is nothing to translate"):
        run(translator(), tmp_path / "in.de", tmp_path / "out.en")
    assert not (tmp_path / "out.en").exists()


def test_a_stream_is_answered_buffer_by_buffer(translator, source, tmp_path, capfdbinary):
    """The answer to a full buffer is out before the next line is asked for."""
    subject = translator()
    run(subject, source, tmp_path / "out.en")
    expected = (tmp_path / "out.en").read_bytes().split(b"\n")[:-1]
    seen = []

    class Stream(io.BytesIO):
        def __next__(self):
            seen.append(capfdbinary.readouterr().out)
            return super().__next__()

    translate_stream(subject, Stream(source.read_bytes()), as_text, 2, None)
    seen.append(capfdbinary.readouterr().out)
    assert b"".join(seen).split(b"\n")[:-1] == expected
    assert seen[2].count(b"\n") == 2


@pytest.mark.check("B3")
@pytest.mark.parametrize(
    ("text", "filled"),
    [
        (b"", []),
        (b"\n", [False]),
        (b" ", [False]),
        (b" \n\t\n\r\n", [False, False, False]),
        (b"haus", [True]),
        (b"\n\nhaus\n\nhund", [False, False, True, False, True]),
        (b"haus\n\n", [True, False]),
    ],
)
def test_blank_and_unfinished_lines(translator, text, filled, tmp_path):
    """From a stream and from a file; but a file without a line is refused, as above."""
    translate_stream(translator(), io.BytesIO(text), as_text, 2, tmp_path / "of_stream")
    written = (tmp_path / "of_stream").read_text("utf-8")
    assert [bool(line) for line in written.split("\n")[:-1]] == filled
    if filled:
        (tmp_path / "in.de").write_bytes(text)
        run(translator(), tmp_path / "in.de", tmp_path / "of_file")
        assert (tmp_path / "of_file").read_text("utf-8") == written


@pytest.mark.check("B2")
def test_odd_characters_end_no_line(translator, tmp_path):
    text = "der\u2028hund\u0085ein\x0bhaus\x0c.\x1c\x00\rende\r\nein haus.\n"
    (tmp_path / "in.de").write_bytes(text.encode())
    run(translator(), tmp_path / "in.de", tmp_path / "out.en")
    assert (tmp_path / "out.en").read_bytes().count(b"\n") == 2
