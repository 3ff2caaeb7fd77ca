"""Whether a line has the right word, and files of probes."""

import pytest

from reluformer.errors import UserError
from reluformer.evaluation.probes import bucket, read_probes, verdict


def test_verdicts():
    right, wrong = ("bench", "benches"), ("bank", "light bulb")
    assert verdict("The Bench was old.", right, wrong) == "right"
    assert verdict("The bank's clock", right, wrong) == "wrong"
    assert verdict("A light, bulb-like thing", ("light bulb",), ("pear",)) == "right"
    assert verdict("The benchmark was old.", right, wrong) == "neither"
    assert verdict("The bench of the bank", right, wrong) == "neither"


def test_distances_have_buckets():
    found = [bucket(sentences) for sentences in (1, 2, 3, 8, 9, 33, 100)]
    assert found == ["1-2", "1-2", "3-4", "5-8", "9-16", "33+", "33+"]


@pytest.mark.parametrize("broken", ["{", '{"direction": "de-en"}', "3"])
def test_a_damaged_file_names_the_line(tmp_path, broken):
    path = tmp_path / "test.probes.jsonl"
    path.write_text(f"{broken}\n")
    with pytest.raises(UserError, match="line 1"):
        read_probes(path)
