"""How the site is made: `make docs`."""

import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))  # for pictures.py, which draws when the site is built

import cpool  # noqa: E402  # found where this Python has it: make docs says where

project = "cpool"
author = "the cpool authors"
copyright = "2026, the cpool authors"
release = version = cpool.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton", "pictures"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3

nitpicky = True
default_role = "py:obj"  # `name` in a docstring links where there is something of this name
nitpick_ignore_regex = [("py:obj", ".*")]  # and is code elsewhere
autodoc_typehints = "none"
smartquotes = False  # "valid" is an argument
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "furo"
html_title = f"cpool {release}"
html_static_path = ["_static"]
html_css_files = ["cpool.css"]
html_show_sphinx = False
html_copy_source = False
highlight_language = "text"  # where a block does not say
pygments_style = "friendly"
pygments_dark_style = "monokai"
