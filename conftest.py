"""Puts the checkout's `tests` package within reach, and nothing else: the code under test is the installed one. How hypothesis
tries: without deadlines, for a timing is a benchmark, and without its explaining phase, which makes a failure take minutes to
be told.
"""

import importlib.util
import sys
from pathlib import Path

from hypothesis import Phase, settings

if "tests" not in sys.modules:
    root = Path(__file__).parent / "tests"
    spec = importlib.util.spec_from_file_location("tests", root / "__init__.py", submodule_search_locations=[str(root)])
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["tests"] = module
    spec.loader.exec_module(module)

settings.register_profile(
    "tests", deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.target, Phase.shrink)
)
settings.load_profile("tests")
