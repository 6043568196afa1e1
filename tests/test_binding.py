"""The binding's types: the stub names what the compiled module has, and nothing else."""

import ast
from pathlib import Path

import cnnfast
from cnnfast import _core

STUB = Path(cnnfast.__file__).with_name("_core.pyi")


def test_stub_names_the_module():
    named = set()
    for node in ast.parse(STUB.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            named.add(node.name)
        elif isinstance(node, ast.AnnAssign):
            named.add(node.target.id)
    public = {
        name
        for name, value in vars(_core).items()
        if not name.startswith("_") and type(value).__name__ != "module"
    }
    public -= {"Buffer", "Draft"}  # the owners of arrays' memory; nobody makes one
    assert named == public
