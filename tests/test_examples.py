"""Each file in examples/ runs, and finds that it is right."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import missing

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
NEEDS = {"classifier_head": ("onnx", "onnxruntime"), "opencl_pipeline": ("pyopencl",)}
NO_DEVICE = "No OpenCL device here"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example(path, module, tmp_path):
    for name in NEEDS.get(path.stem, ()):
        module(name)
    done = subprocess.run(
        [sys.executable, str(path)], capture_output=True, text=True, timeout=200, check=False, cwd=tmp_path
    )
    if path.stem == "opencl_pipeline" and NO_DEVICE in done.stderr:
        missing("pyopencl", NO_DEVICE)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert done.stdout.strip(), "it shows nothing"
    assert not list(tmp_path.iterdir()), "it leaves files behind"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_compares_with_numpy(path):
    source = path.read_text(encoding="utf-8")
    assert "assert np." in source or "return int(not " in source or "return int(failed)" in source


def test_the_examples_are_there():
    if not EXAMPLES:
        missing("examples", "the examples do not lie beside the tests")
    assert len(EXAMPLES) >= 12
