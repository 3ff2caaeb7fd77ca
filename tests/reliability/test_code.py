"""No module of ours loads code from data."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from checks import Trials

CHECKOUT = Path(__file__).resolve().parents[2]

# What loads code from data, by the module or the call.
MODULES = {"pickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "jsonpickle"}
CALLS = {
    *("eval", "exec", "compile", "__import__", "runpy.run_path", "runpy.run_module"),
    *("os.system", "os.popen", "os.execv", "os.execvp", "os.spawnv", "pty.spawn"),
    *("torch.load", "torch.jit.load", "torch.hub.load", "torch.package.PackageImporter"),
    *("yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load"),
    *("tempfile.mktemp", "subprocess.getoutput", "subprocess.getstatusoutput"),
}
METHODS = {"extractall", "extract", "unpack_archive"}
NAMES = {"UnsafeLoader", "FullLoader", "CUnsafeLoader", "CFullLoader", "trust_remote_code"}
ARGUMENTS = {"shell": True, "allow_pickle": True, "weights_only": False}


def dotted(node: ast.AST) -> str:
    """`a.b.c` of an expression that is one."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def dangers(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = {alias.name.partition(".")[0] for alias in node.names}
            yield from names & MODULES
        elif isinstance(node, ast.ImportFrom):
            yield from {(node.module or "").partition(".")[0]} & MODULES
            found = {f"{node.module}.{alias.name}" for alias in node.names}
            yield from found & CALLS
            yield from {alias.name for alias in node.names} & (METHODS | NAMES)
        elif isinstance(node, ast.Call):
            name = dotted(node.func)
            yield from {name} & CALLS
            if isinstance(node.func, ast.Attribute):
                yield from {node.func.attr} & METHODS
            given = {one.arg: one.value for one in node.keywords}
            for key, bad in ARGUMENTS.items():
                if key in given and getattr(given[key], "value", bad) is bad:
                    yield key
            yield from NAMES & set(filter(None, given))
            if name in ("np.load", "numpy.load") and "allow_pickle" not in given:
                yield name
        elif isinstance(node, ast.Attribute | ast.Name):
            yield from {getattr(node, "attr", ""), getattr(node, "id", "")} & NAMES


@pytest.mark.check("C1")
def test_no_module_loads_code_from_data(trials: Trials) -> None:
    modules = [*(CHECKOUT / "reluformer").rglob("*.py"), *(CHECKOUT / "data_prep").rglob("*.py")]
    assert trials(len(modules), len(modules)) > 100
    found = {path: list(dangers(path.read_text(encoding="utf-8"))) for path in modules}
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "def f():\n    from pickle import loads",
        "import torch\nx = [torch.load('x')]",
        "from torch import load",
        "eval('1')",
        "import yaml\nyaml.load(x, Loader=yaml.SafeLoader)",
        "yaml.UnsafeLoader(x)",
        "tar.extractall()",
        "from shutil import unpack_archive",
        "run('ls', shell=True)",
        "run('ls', shell=flag)",
        "np.load(x)",
        "np.load(x, allow_pickle=True)",
        "load(x, trust_remote_code=True)",
    ],
)
def test_what_loads_code_is_found(source: str) -> None:
    assert list(dangers(source))
