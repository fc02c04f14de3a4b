"""Puts the checkout's `tests` package within reach, and nothing else: the code under test is the installed one."""

import importlib.util
import sys
from pathlib import Path

if "tests" not in sys.modules:
    root = Path(__file__).parent / "tests"
    spec = importlib.util.spec_from_file_location("tests", root / "__init__.py", submodule_search_locations=[str(root)])
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["tests"] = module
    spec.loader.exec_module(module)
