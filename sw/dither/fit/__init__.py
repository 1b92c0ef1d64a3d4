"""What fits, before anything is built: memories, cycles, the line, accuracies, other recipes.

``assess`` asks the compiler how much of an engine a training needs; ``line`` how long its samples
take over a board's line; ``recorded`` what was reached with it before; ``nearest`` which changes
would make it fit; ``overview`` asks all that of every board.
"""

from .assess import UNITS, Assessment, Use, assess
from .finding import Finding, examine
from .line import Line, line_of
from .nearest import Suggestion, suggestions
from .overview import Cell, overview, overview_digest
from .recorded import Known, known_results, recording, summary

__all__ = [
    "UNITS",
    "Assessment",
    "Cell",
    "Finding",
    "Known",
    "Line",
    "Suggestion",
    "Use",
    "assess",
    "examine",
    "known_results",
    "line_of",
    "overview",
    "overview_digest",
    "recording",
    "suggestions",
    "summary",
]
