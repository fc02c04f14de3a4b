"""How the properties are tried: without hypothesis' explaining phase, which makes a failure take minutes to be told."""

from hypothesis import Phase, settings

settings.register_profile(
    "properties", deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.target, Phase.shrink)
)
settings.load_profile("properties")
