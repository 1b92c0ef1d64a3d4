"""Configuration of the documentation's site; ``make docs`` builds it."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path
from typing import Any

from dither.cli.page import command_page

HERE = Path(__file__).parent

project = "dither"
author = "the dither authors"
version = release = metadata.version("dither")
html_title = f"dither {release}"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx_design"]
exclude_patterns = ["results/*/note.md"]
html_theme = "furo"
html_theme_options = {
    "light_logo": "logo.svg",
    "dark_logo": "logo.svg",
    "light_css_variables": {
        "color-brand-primary": "#2f5fd0",
        "color-brand-content": "#2f5fd0",
        "color-brand-visited": "#2f5fd0",
        "color-background-primary": "#fdfcf9",
        "color-background-secondary": "#f5f3ec",
        "color-code-background": "#f5f3ec",
        "color-api-name": "#a63d5f",
        "color-api-pre-name": "#5d606b",
    },
    "dark_css_variables": {
        "color-brand-primary": "#7aa2f7",
        "color-brand-content": "#7aa2f7",
        "color-brand-visited": "#7aa2f7",
    },
}
html_favicon = "_static/logo.svg"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_copyright = False
html_show_sourcelink = False
html_copy_source = False
pygments_style = "friendly"
pygments_dark_style = "github-dark"

myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist", "substitution"]
myst_heading_anchors = 4
nb_execution_mode = "off"  # the notebook is kept with its outputs; a test executes it again

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_format = "short"
autodoc_typehints_description_target = "documented"

OUTSIDE = {"contributing": "CONTRIBUTING.md", "changelog": "CHANGELOG.md"}
"""Pages that show a file from outside of this folder."""


def glossary() -> dict[str, str]:
    """Returns the meanings of all words of the glossary, by word with underscores for spaces."""
    rows = re.findall(r"^\| \*\*(.+?)\*\* \| (.+) \|$", (HERE / "glossary.md").read_text(), re.MULTILINE)
    return {word.replace(" ", "_").replace(",", ""): meaning for word, meaning in rows}


myst_substitutions = glossary()


def adapt(app: Any, name: str, source: list[str]) -> None:
    """Makes of a page for readers of the repository one for the site: links and anchors."""
    text = source[0]
    if name == "reference/cli":
        text = command_page()
    if name in OUTSIDE:
        text = (HERE.parent / OUTSIDE[name]).read_text().replace("](docs/", "](")
    for page, file in OUTSIDE.items():
        text = re.sub(rf"\]\((\.\./)?{file}", f"]({page}.md", text)
    text = re.sub(r"\]\(([\w-]+)/\)", r"](\1/result.json)", text)  # folders are no pages
    text = re.sub(r"(\.svg\))$", r"\1{.wide}", text, flags=re.MULTILINE)  # their labels stay legible
    source[0] = re.sub(r'^<a id="([\w-]+)"></a>$', r"(\1)=", text, flags=re.MULTILINE)


def setup(app: Any) -> None:
    """Connects the function above."""
    app.connect("source-read", adapt)
