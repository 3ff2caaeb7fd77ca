"""The output folder: whole or absent, made once, never silently replaced."""

import json
from pathlib import Path

import pytest
from filelock import FileLock
from output import Output, Report, check_name

from reluformer.errors import UserError


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("source.txt").write_text("source\n")


def output(**options: object) -> Output:
    return Output("mine", "test", options, {"source": Path("source.txt")})


def fill(staging: Path) -> Report:
    (staging / "train.de").write_text("eins\nzwei\n")
    (staging / "work").mkdir(exist_ok=True)
    (staging / "work" / "tokens").write_text("kept until the end")
    return {"pairs": 2}


def never(staging: Path) -> Report:
    raise AssertionError("must not be called")


def test_the_report_says_how_the_folder_was_made(contents):
    report = output(seed=3).make(fill, overwrite=False)
    folder = Path("data/mine/text")
    assert json.loads((folder / "prepare.json").read_text()) == report
    assert report["options"] == {"seed": 3}
    assert report["counts"] == {"pairs": 2}
    assert report["files"]["train.de"]["lines"] == 2
    # as sha256sum says
    assert report["source_sha256"]["source"].startswith("b8bb034f")
    assert set(contents(Path("data"))) == {"mine/text/train.de", "mine/text/prepare.json"}


def test_the_same_again_is_not_redone():
    report = output(seed=3).make(fill, overwrite=False)
    assert output(seed=3).make(never, overwrite=False) == report
    assert output(seed=3).make(never, overwrite=True) == report


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda: None, r"made differently \(seed was 3, now 4\)"),
        (lambda: Path("source.txt").write_text("new"), r"made differently \(source_sha256, seed"),
        (lambda: Path("data/mine/text/prepare.json").unlink(), "not made by this recipe"),
        (lambda: Path("data/mine/text/prepare.json").write_text("[]"), "not made by this recipe"),
        (
            lambda: Path("data/mine/text/prepare.json").write_text('{"options": null}'),
            "not made by this recipe",
        ),
    ],
)
def test_other_output_is_replaced_only_when_asked(change, said, contents):
    output(seed=3).make(fill, overwrite=False)
    change()
    before = contents(Path("data"))
    with pytest.raises(UserError, match=f"{said}.*overwrite=true"):
        output(seed=4).make(never, overwrite=False)
    assert contents(Path("data")) == before
    assert output(seed=4).make(fill, overwrite=True)["options"] == {"seed": 4}


def test_sources_in_the_folder_are_not_replaced():
    Path("data/mine/text").mkdir(parents=True)
    source = Path("source.txt").rename("data/mine/text/source.txt")
    inside = Output("mine", "test", {}, {"source": source})
    with pytest.raises(UserError, match=r"`source` .* lies in data/mine/text"):
        inside.make(never, overwrite=True)
    assert source.read_text() == "source\n"


@pytest.mark.parametrize("kind", ["link", "file"])
def test_only_a_folder_is_replaced(kind, tmp_path, contents):
    place = Path("data/mine/text")
    place.parent.mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    place.symlink_to(tmp_path / "elsewhere") if kind == "link" else place.touch()
    with pytest.raises(UserError, match="data/mine/text is no folder of its own"):
        output().make(never, overwrite=True)
    assert list(place.parent.iterdir()) == [place]


def test_a_file_changed_afterwards_is_noticed():
    output().make(fill, overwrite=False)
    Path("data/mine/text/train.de").write_text("eins\nZwei\n")
    with pytest.raises(UserError, match=r"changed after it was made \(train.de\)"):
        output().make(never, overwrite=False)


def test_a_folder_can_be_a_source():
    def made() -> Report:
        return Output("mine", "test", {}, {"text": Path("texts")}).make(fill, overwrite=True)

    Path("texts").mkdir()
    Path("texts/a.txt").write_text("a")
    digests = [made()["source_sha256"]["text"]]
    Path("texts/other").write_text("no text file")
    digests.append(made()["source_sha256"]["text"])
    Path("texts/a.txt").write_text("b")
    digests.append(made()["source_sha256"]["text"])
    Path("texts/a.txt").rename("texts/b.txt")
    digests.append(made()["source_sha256"]["text"])
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


@pytest.mark.parametrize("stop", [KeyboardInterrupt, UserError])
def test_a_failure_leaves_the_old_folder_alone(stop, contents):
    def fail(staging: Path) -> Report:
        fill(staging)
        raise stop

    output(seed=3).make(fill, overwrite=False)
    before = contents(Path("data/mine/text"))
    with pytest.raises(stop):
        output(seed=4).make(fail, overwrite=True)
    assert contents(Path("data/mine/text")) == before


def test_an_interrupted_recipe_finds_its_files_again_and_others_do_not():
    def interrupted(staging: Path) -> Report:
        (staging / "tokens").write_text("finished")
        raise KeyboardInterrupt

    def go_on(staging: Path) -> Report:
        return {"found": (staging / "tokens").exists()}

    for seed in (3, 3, 4):
        with pytest.raises(KeyboardInterrupt):
            output(seed=seed).make(interrupted, overwrite=False)
        assert not Path("data/mine/text").exists()
    assert output(seed=4).make(go_on, overwrite=False)["counts"] == {"found": True}
    assert output(seed=3).make(go_on, overwrite=True)["counts"] == {"found": False}


def test_two_at_a_time_are_refused():
    Path("data/mine").mkdir(parents=True)
    with (
        FileLock("data/mine/.prepare.lock"),
        pytest.raises(UserError, match="another process is preparing data/mine/text"),
    ):
        output().make(never, overwrite=False)


@pytest.mark.check("C6")
@pytest.mark.parametrize("name", ["", "..", "a/b", "/abs", "a\nb", "-x", "x" * 101, "a b"])
def test_names_that_leave_the_data_folder_are_refused(name):
    with pytest.raises(UserError, match="`name` must be"):
        check_name("name", name)
