"""What configuration, rules, stages and report must agree on: the kinds of image model, and the K of a bracket.

A kind with networks is trained by the stage train_KIND with the settings image_KIND of the configuration's schema. It
differs from the others by the networks that it saves; figures and sentences go by these. A kind without networks is
made elsewhere: the stage import_samples brings its images.
"""

KINDS = {
    "vae": ("generator", "encoder"),
    "gan": ("generator", "critic"),
    "samples": (),
    "external": (),
}


def models_with(network, models):
    """The names of those of `models`, the configuration's `images.models`, that have a network, say "encoder"."""
    return [name for name, settings in models.items() if network in KINDS[settings["kind"]]]


def seeds_of(settings, seeds):
    """The seeds of an image model: those of the configuration, or 1, 2, ... of samples from elsewhere."""
    return list(range(1, 1 + len(settings["samples"]))) if settings["kind"] == "samples" else seeds


def sample_counts(samples):
    """The numbers K of samples at which a bracket reports importance sampling, the last one `samples`."""
    return [k for k in (1, 10, 50, 200, 1000, 5000) if k < samples] + [samples]
