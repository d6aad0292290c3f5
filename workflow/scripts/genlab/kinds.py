"""The kinds of image model: a row each, which the rules and the report read.

A kind is trained by the stage train_KIND with the settings image_KIND of the configuration's schema. It differs from
the others by the networks that it saves; figures and sentences go by these.
"""

KINDS = {
    "vae": ("generator", "encoder"),
    "gan": ("generator", "critic"),
}


def models_with(network, models):
    """The names of those of `models`, the configuration's `images.models`, that have a network, say "encoder"."""
    return [name for name, settings in models.items() if network in KINDS[settings["kind"]]]
