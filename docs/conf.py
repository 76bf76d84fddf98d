"""How Sphinx builds the pages in this folder: `make docs`."""

import sys
from pathlib import Path

from tfdump import __version__

sys.path.insert(0, str(Path(__file__).parent))  # for command_reference

project = "tfdump"
author = "the authors of tfdump"
version = release = __version__

extensions = ["myst_parser", "numpydoc", "sphinx.ext.autodoc", "command_reference"]
exclude_patterns = ["images"]
nitpicky = True
default_role = "literal"  # `x` in a docstring
smartquotes = False  # they would make one dash of the two before an option

myst_heading_anchors = 3
"""Depth of the headings that a link can name: `page.md#a-heading`."""

numpydoc_show_class_members = False
numpydoc_xref_param_type = False  # what stands there is read by people: `str or Path`, `array_like`
autodoc_typehints = "none"  # the docstrings name the types in words
autodoc_member_order = "bysource"
nitpick_ignore_regex = [("py:.*", r"(keras|tfdump\.model|tfdump\.dump|collections|abc)\..*")]
"""Base classes and modules that the pages do not describe."""

html_theme = "furo"
html_title = f"tfdump {version}"
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"source_repository": "", "top_of_page_buttons": []}
