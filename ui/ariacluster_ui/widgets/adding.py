"""The dialog for new downloads. It is there on every page, and opens when links or files are pasted or dropped anywhere."""

from ariacluster_ui.assets import Island


class Adder(Island, script="add"):
    """Emits `look` with the text while it is typed, and `submit` with all of it; told as `add_open`, `add_look`, `add_done`."""
