"""What a configuration may build, and what it is told otherwise."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from limits import cheap
from torch import nn

from reluformer.config.instantiate import instantiate, load_plain
from reluformer.config.paths import config_dir
from reluformer.errors import UserError

SOFTMAX = "reluformer.attention.softmax.SoftmaxAttention"
RELU = "reluformer.attention.relu.ReluAttention"

STRANGER = """
from torch import nn

class Wrapper(nn.Module):
    def __init__(self, num_heads: int, head_dim: int, inner, scale: float = 1.0):
        super().__init__()
        self.inner = inner
        if scale <= 0:
            raise ValueError(f"`scale` must be greater than 0, but is {scale}")
"""


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "stranger.py").write_text(STRANGER, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "stranger"
    sys.modules.pop("stranger", None)


def build(node: object, **kwargs: object) -> nn.Module:
    return instantiate(node, num_heads=2, head_dim=4, **kwargs)


def test_builds_a_class_of_the_package() -> None:
    assert type(build({"_target_": SOFTMAX})).__name__ == "SoftmaxAttention"


@pytest.mark.check("C1")
@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "subprocess.Popen",
        "reluformer_evil.Attack",
        "torch.nn.Linear",
        "builtins.eval",
        "system",
    ],
)
def test_refuses_names_outside_the_package(target: str) -> None:
    with pytest.raises(UserError, match="may only name classes of reluformer"):
        build({"_target_": target, "args": "id"})


@pytest.mark.check("C1")
@pytest.mark.parametrize(
    "target",
    [
        "reluformer.attention.softmax.nn.Linear",  # through a module's imports
        "reluformer.attention.softmax.Visibility",
        "reluformer.config.instantiate.importlib.import_module",
        "reluformer.config.instantiate.instantiate",  # a function, not a class
        "reluformer.config.instantiate.Path",
        "reluformer.errors.UserError",  # a class, but no layer
        "reluformer.attention.nothing.SoftmaxAttention",
        "reluformer.attention.softmax.",
        "reluformer..attention.SoftmaxAttention",
        "reluformer.attention.\0.SoftmaxAttention",
        f"reluformer.{'x' * 10_000}.SoftmaxAttention",
    ],
)
def test_refuses_what_is_no_layer_of_the_package(target: str) -> None:
    with pytest.raises(UserError):
        build({"_target_": target})


def test_suggests_the_nearest_class() -> None:
    with pytest.raises(UserError, match="did you mean SoftmaxAttention"):
        build({"_target_": SOFTMAX.replace("Softmax", "Sofmax")})


@pytest.mark.parametrize("node", [None, "softmax", {"gamma": 1}, {"_target_": 3}, []])
def test_a_node_needs_a_target(node: object) -> None:
    with pytest.raises(UserError, match="_target_"):
        build(node)


def test_names_unknown_missing_and_reserved_settings() -> None:
    with pytest.raises(UserError, match="no setting `gama`; did you mean gamma"):
        build({"_target_": RELU, "gama": 1.0})
    with pytest.raises(UserError, match=r"needs the setting `\w+` \(its settings: gamma, "):
        build({"_target_": RELU, "gamma": 1.0})
    with pytest.raises(UserError, match="`num_heads` of SoftmaxAttention is set by the model"):
        build({"_target_": SOFTMAX, "num_heads": 3})


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("scale", "off", "true or false, but is 'off'"),
        ("scale", 1, "true or false, but is 1"),
        ("gamma", "blue", "a number, but is 'blue'"),
        ("gamma", True, "a number, but is True"),
        ("entropy_c", None, "a number, but is None"),
        ("center", 3, "a word, but is 3"),
    ],
)
def test_values_are_of_the_type_that_the_class_declares(key, value, wanted) -> None:
    node = load_plain(config_dir() / "attention/relu.yaml")
    kwargs = {"num_heads": 2, "head_dim": 4}
    instantiate({**node, "gamma": 2}, **kwargs)
    with pytest.raises(UserError, match=f"`{key}` of ReluAttention must be {wanted}"):
        instantiate({**node, key: value}, **kwargs)


def test_a_class_must_accept_what_the_program_passes() -> None:
    with pytest.raises(UserError, match="must accept the parameter `colour`"):
        build({"_target_": SOFTMAX}, colour=1)


def test_an_allowed_module_may_be_used_and_nested(stranger: str) -> None:
    node = {
        "_target_": f"{stranger}.Wrapper",
        "inner": [{"_target_": SOFTMAX, "num_heads": 1, "head_dim": 2}],
    }
    with pytest.raises(UserError, match="may only name classes of reluformer"):
        build(node)
    assert type(build(node, allow=(stranger,)).inner[0]).__name__ == "SoftmaxAttention"


@pytest.mark.check("C1")
def test_a_nested_node_is_held_to_the_same_rule(stranger: str) -> None:
    node = {"_target_": f"{stranger}.Wrapper", "inner": {"a": {"_target_": "os.system"}}}
    with pytest.raises(UserError, match="may only name classes of reluformer, stranger"):
        build(node, allow=(stranger,))


def test_allowing_a_module_allows_no_longer_name(stranger: str) -> None:
    with pytest.raises(UserError, match="may only name classes"):
        build({"_target_": "strangers.Wrapper"}, allow=(stranger,))


def test_a_range_error_names_the_class(stranger: str) -> None:
    node = {"_target_": f"{stranger}.Wrapper", "inner": 1, "scale": -1}
    with pytest.raises(UserError, match="Wrapper: `scale` must be greater than 0"):
        build(node, allow=(stranger,))


def test_a_stored_configuration_is_plain_data(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("a: 1\nb: [x, {c: null}]\n", encoding="utf-8")
    assert load_plain(path) == {"a": 1, "b": ["x", {"c": None}]}


def bomb(levels: int) -> str:
    """Ten to the power of the levels, in a line for each."""
    first, more = "a0: &a0 [x]\n", range(1, levels)
    return first + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in more)


@pytest.mark.check("C4")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: ${oc.env:HOME}\n", "line 2: `\\$\\{` is not allowed"),
        ('a: "\\x24{oc.env:HOME}"\n', "'\\$\\{oc.env:HOME}' is not allowed"),
        ('a: {b: ["$\\\n  {evil:1}"]}\n', "is not allowed"),
        ('a: "\\0"\n', "is not allowed"),
        (bomb(10), "line 2: aliases"),
        ("a: &a [*a]\n", "line 1: aliases"),
        ("a: " + "[" * 30 + "]" * 30, "line 1: settings within settings, over 20 levels"),
        ("a: " + "[" * 60_000, "over 20 levels"),
        ("a: " + "{a: " * 15_000, "over 20 levels"),
        ("- " * 30_000, "over 20 levels"),
        ("a: " + "[" * 100_000 + "]" * 100_000, "too large for a configuration"),
        ("a: 1\n" * 1_000_000, "too large for a configuration"),
        ("a: " + "9" * 60_000, "not valid YAML"),
        ("a: 2026-99-99\n", "not valid YAML"),
        ("? [a]\n: 1\n", "not valid YAML"),
        ("a: !!python/name:os.system\n", "not valid YAML"),
        ("a: !!python/object/new:os.system [id]\n", "not valid YAML"),
        ("a: 1\n---\nb: 2\n", "not valid YAML"),
        ("a: !!python/object/apply:os.system [id]\n", "not valid YAML"),
        ("a: [1\n", "not valid YAML"),
        ("- 1\n", "must hold settings"),
        ("", "must hold settings"),
    ],
)
def test_refuses_a_stored_configuration_that_is_not(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    with cheap(), pytest.raises(UserError, match=message) as error:
        load_plain(path)
    assert str(error.value).startswith(str(path))
    assert len(str(error.value)) < 1_000


@pytest.mark.check("C4")
@pytest.mark.parametrize("text", ["a: 1\n" * 13_000, f"a: [{'1,' * 30_000}]\n"])
def test_the_largest_configuration_is_read_at_once(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    with cheap():
        load_plain(path)


def test_a_missing_stored_configuration_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        load_plain(tmp_path / "config.yaml")
