"""The activity and the settings."""

from ariacluster_ui.assets import Island


class Activity(Island, script="activity"):
    """The history, `groups` of kinds as filters. Emits `older`; what is older is told as `older`."""


class SettingsForm(Island, script="settings"):
    """The settings of the cluster as `values` of text. Emits `save` with those that were changed."""
