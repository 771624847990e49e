"""The recipes of docs/recipes.md run as they are written, each in a process of its own."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
from helpers import run_python

PAGE = Path(__file__).parent.parent / "docs" / "recipes.md"
RECIPES = dict(
    re.findall(r"^## (.+?)$.*?^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    if PAGE.exists()
    else []
)
ALWAYS = {"numpy", "cpool", *sys.stdlib_module_names}


def test_there_are_recipes():
    if not PAGE.exists():
        pytest.skip("only in the source tree")
    assert len(RECIPES) == PAGE.read_text().count("```python") == PAGE.read_text().count("\n## ") == 6


@pytest.mark.parametrize("title", RECIPES)
def test_recipe(title, module):
    code = RECIPES[title]
    needed = set(re.findall(r"^(?:import|from) (\w+)", code, re.MULTILINE)) - ALWAYS
    assert needed
    for name in sorted(needed):
        module(name)
    if "pyopencl" in needed and not os.environ.get("CPOOL_TEST_OPENCL"):
        pytest.skip("CPOOL_TEST_OPENCL names no OpenCL devices")
    environment = {"JAX_PLATFORMS": "cpu"} if "jax" in needed else {}
    run_python(code, timeout=240, **environment)
