"""The list of downloads."""

from ariacluster_ui.assets import Island


class TaskList(Island, script="task_list"):
    """A page of them; which is in the URL (`show`, `q`, `node`, `tag`, `sort`, `page`). Emits `view` when that changes, and
    `order` with a `verb`, its number `order`, and either `ids` or `all`; told as `tasks_page`, `tasks_rows` and, when an order
    is over, `tasks_said`. `orders` and `looks`: verbs, and icon and tone, by state; `verbs`: what each is, in the order in
    which they are offered."""
