"""Patterns that find the parts of the documentation that tests compare with the code."""

import re

KEY_AND_DEFAULT = re.compile(r"^\| `(\w+)` \|[^|]*\| (\S+) \| .+ \|$", re.MULTILINE)
"""Matches a row of a table in docs/settings.md: the settings key, and its default value as text."""
