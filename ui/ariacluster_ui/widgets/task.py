"""The parts of one download's page. What a person orders comes as `act`: `{"verb": …}`."""

from ariacluster_ui.assets import Island


class TaskDetail(Island, script="task_detail"):
    """All of it; told as `task`, `task_live` and `task_story`. `icons`: of the verbs."""
