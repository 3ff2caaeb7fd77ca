"""What preprocessing says of a corpus."""

from pathlib import Path

import pytest
from fuzzing import cases
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from reluformer.data.corpus import Corpus, Manifest
from reluformer.data.report import corpus_table, losses


@pytest.fixture
def manifest(reversal_folder: Path) -> Manifest:
    return Corpus.open(reversal_folder).manifest


@pytest.mark.check("B2")
def test_every_loss_is_said(manifest: Manifest) -> None:
    valid = manifest.splits["valid"]
    valid |= {"empty": 1, "ratio": 2, "too_long": 3, "cut": 4, "nul": 5}
    assert list(losses(manifest)) == [
        "valid: of 40 pairs 1 empty on a side (kept), 2 of unequal length (kept), 3 too long "
        "(kept), 4 endless lines cut, 5 lines with NUL characters"
    ]
    del valid["nul"]  # as in corpora of earlier versions
    assert "NUL" not in next(losses(manifest))


@pytest.mark.check("B6")
@pytest.mark.timeout(3600)
def test_names_are_shown_as_they_are(manifest: Manifest, trials) -> None:
    """Brackets in them are no markup, and no name breaks the table."""
    console = Console(width=400, color_system=None)
    name = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=30)

    @cases(trials(50, 1000))
    @given(name | st.sampled_from(["[/]", "[/red]", "[bold]", "[link=x]"]), name)
    def show(name: str, lang: str) -> None:
        manifest.data.update(name=name, source_lang=lang)
        with console.capture() as shown:
            console.print(corpus_table(manifest))
        assert shown.get().startswith(f"{name} ({manifest.digest[:12]})")
        assert f" {lang} " in shown.get()

    show()
