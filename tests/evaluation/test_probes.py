"""Whether a line has the right word, and files of probes."""

import json

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
    found = [bucket(words) for words in (0, 7, 8, 15, 16, 255, 256, 1023, 1024, 9999)]
    expected = ["1-7", "1-7", "8-15", "8-15", "16-31", "128-255", "256-511", "512-1023"]
    assert found == [*expected, "1024+", "1024+"]


PROBE = {
    "direction": "de-en",
    "kind": "name",
    "document": 1,
    "line": 2,
    "sentences": 1,
    "words": 9,
    "antecedent": "Bank",
    "source": "bank",
    "right": ["bank"],
    "wrong": ["bench"],
    "pair": 1,
}


def test_a_probe_is_read_back(tmp_path):
    path = tmp_path / "test.probes.jsonl"
    path.write_text(json.dumps(PROBE) + "\n")
    (probe,) = read_probes(path)
    assert (probe.line, probe.words, probe.right) == (2, 9, ("bank",))


@pytest.mark.parametrize(
    "broken",
    [
        *("{", '{"direction": "de-en"}', "3"),
        *(
            json.dumps({**PROBE, name: value})
            for name, value in (("line", "2"), ("line", 0), ("right", "bank"), ("kind", "verb"))
        ),
    ],
)
def test_a_damaged_file_names_the_line(tmp_path, broken):
    path = tmp_path / "test.probes.jsonl"
    path.write_text(f"{broken}\n")
    with pytest.raises(UserError, match="line 1"):
        read_probes(path)
