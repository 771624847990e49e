"""The documentation does what it says: the code of its pages, the examples of docstrings, and nothing left out."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pages
import pytest
from conftest import missing
from helpers import python, run_python

import cpool
from cpool import nn

ROOT = Path(__file__).parents[1]
RUN_ELSEWHERE = {"cimport.md", "recipes.md"}  # by test_cimport.py and test_recipes.py
WITH_CODE = [
    path
    for path in (ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md")))
    if path.is_file() and path.name not in RUN_ELSEWHERE and pages.blocks(path.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_code_of_a_page(page, tmp_path):
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("pages.py")), str(page)],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        cwd=ROOT,
        env=os.environ | {"CPOOL_CACHE_DIR": str(tmp_path)},
    )
    if done.returncode == pages.NOT_HERE:
        needed = done.stdout.split()[-1]
        missing(needed, f"{page.name} needs {needed} from here on")
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def test_pages_with_code_are_found():
    if not (ROOT / "docs").is_dir():
        missing("docs", "the documentation does not lie beside the tests")
    found = {str(path.relative_to(ROOT)) for path in WITH_CODE}
    assert {"README.md", "docs/start.md", "docs/windows.md", "docs/opencl.md", "docs/faq.md"} <= found


PAGE = """# A page

```{language}
{code}
```
"""


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("python", "assert 1 == 2"),
        ("python", "import numpy as np\nnp.ones((2, 3)).shape  # (3, 2), not so"),
        ("python", "open('/no such/file')"),
        ("python", "import cpool.no_such_part"),
        ("pycon", ">>> 1 + 1\n3"),
        ("pycon", ">>> import no_such_module"),
        ("pycon", "1 + 1"),
    ],
)
def test_a_page_that_is_wrong_fails(tmp_path, language, code):
    path = tmp_path / "page.md"
    path.write_text(PAGE.format(language=language, code=code), encoding="utf-8")
    with pytest.raises((AssertionError, OSError, ImportError)):
        pages.main(str(path))


def test_a_page_that_is_right_passes(tmp_path):
    path = tmp_path / "page.md"
    code = "import numpy as np\nx = np.ones((2, 3))\nx.shape  # (2, 3), as it was\n"
    more = "```pycon\n>>> x.sum()\nnp.float64(6.0)\n```\n\n```text\nno code\n```\n"
    path.write_text(PAGE.format(language="python", code=code) + more, encoding="utf-8")
    assert [block.line for block in pages.blocks(path.read_text(encoding="utf-8"))] == [4, 10]
    assert pages.main(str(path)) == 0
    path.write_text(PAGE.format(language="python", code="import torch"), encoding="utf-8")
    done = python(
        f"import sys, pages\nsys.modules['torch'] = None\nsys.exit(pages.main({str(path)!r}))", PYTHONPATH=PATHS
    )
    assert (done.returncode, done.stdout.split()) == (pages.NOT_HERE, ["torch"]), done.stderr


PATHS = ":".join([str(Path(__file__).parent), *filter(None, sys.path)])

DOCSTRINGS = """
import doctest, inspect, cpool
from cpool import nn, windows
finder = doctest.DocTestFinder(recurse=False)
runner = doctest.DocTestRunner(verbose=False)
public = [(m.__name__, n) for m in (cpool, nn) for n in m.__all__ if n not in ("nn", "__version__")]
for module, name in public:
    thing = getattr(cpool if module == "cpool" else nn, name)
    assert inspect.isfunction(thing) or inspect.isclass(thing), name
    # with nothing but its own imports, as somebody would copy it
    tests = [t for t in finder.find(thing, f"{module}.{name}", module=False, globs={}) if t.examples]
    assert tests, f"{module}.{name}: its docstring shows no example"
    for test in tests:
        runner.run(test)
assert not runner.failures, f"{runner.failures} failed"
print(len(public), runner.tries)
"""


def test_every_public_function_and_class_has_an_example_that_runs(tmp_path):
    # one of them measures this machine
    count, tries = map(int, run_python(DOCSTRINGS, CPOOL_CACHE_DIR=str(tmp_path)).split()[-2:])
    assert count == len(cpool.__all__) - 2 + len(nn.__all__)
    assert tries > 2 * count


def test_every_public_name_is_in_the_reference():
    reference = sorted(ROOT.glob("docs/api/*.md"))
    if not reference:
        missing("docs", "the documentation does not lie beside the tests")
    text = "\n".join(path.read_text(encoding="utf-8") for path in reference)
    named = re.findall(r"^\.\. auto(?:function|class|exception):: ([\w.]+)", text, re.MULTILINE)
    for name in (*cpool.__all__, *nn.__all__):
        if name not in ("nn", "__version__"):
            assert named.count(name) == 1, name
