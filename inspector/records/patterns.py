"""Regular expressions that people give, matched in a process of their own with a time limit.

One like ([0-9]+)*x can take years, and nothing else in its process would go on meanwhile.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence

from inspector.errors import ConfigError

MATCHING_S = 10.0
"""How long all texts together may take; a pattern in order needs milliseconds."""
MAX_PATTERN = 200
_MAX_TEXT = 512
_CHILD = """
import json, os, re, sys
os.nice(10)
asked = json.load(sys.stdin)
pattern = re.compile(asked["pattern"])
group = min(1, pattern.groups)
found = (pattern.search(text) for text in asked["texts"])
json.dump([(one[group] or "") if one else "" for one in found], sys.stdout)
"""


def check_pattern(pattern: str, what: str, example: str) -> None:
    """Raises ConfigError for what is no regular expression; `what` says what it finds."""
    if len(pattern) > MAX_PATTERN:
        raise ConfigError(f"a pattern for {what} has at most {MAX_PATTERN} characters: give a shorter one")
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ConfigError(
            f"{pattern!r} is no pattern for {what} ({error}); give a regular expression, such as {example}"
        ) from error


def found_in(pattern: str, texts: Sequence[str], within_s: float = MATCHING_S) -> list[str]:
    """What the pattern finds in each text: its first group, or all that it matches, empty for nothing. Raises ConfigError."""
    if not pattern or not texts:
        return [""] * len(texts)
    asked = json.dumps({"pattern": pattern, "texts": [text[:_MAX_TEXT] for text in texts]})
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _CHILD], input=asked, capture_output=True, text=True, timeout=within_s
        )
    except subprocess.TimeoutExpired as error:
        raise ConfigError(
            f"the pattern {pattern!r} takes more than {within_s:g} s on these names: leave out repetitions of repetitions, as "
            "in ([0-9]+)*, and say what stands before and behind, such as num_([0-9]+)"
        ) from error
    except OSError as error:
        raise ConfigError(f"a pattern cannot be matched now ({error.strerror}): try again") from error
    if done.returncode:
        raise ConfigError(
            f"the pattern {pattern!r} cannot be matched ({done.stderr.strip()[-200:]}): give a simpler one"
        )
    found: list[str] = json.loads(done.stdout)
    return found
