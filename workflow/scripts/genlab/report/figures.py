"""The table of figures: a row each. What a figure shows it says here; the page and the rules read it."""

from dataclasses import dataclass

from ..kinds import models_with


@dataclass(frozen=True)
class Figure:
    """One row.

    section  of the page that shows it
    name     of its file in the folder `figures`; {model} stands for a model's name
    alt      what is to be seen, for who cannot see it
    of       which models have one each: "binary" for those of binary digits, "images" for all image models, or the
             network that image models need for it; "" for one figure in all, "several" for one if there are several
             models of binary digits
    caption  its file in workflow/report, less the suffix; "" if it has the name of the figure
    """

    section: str
    name: str
    alt: str
    of: str = ""
    caption: str = ""


FIGURES = (
    Figure("data", "data", "Images of both data sets, as the models see them."),
    Figure(
        "divergences",
        "divergences",
        "Estimates of the Jensen-Shannon divergence and of the Wasserstein distance against theta, beside the exact "
        "values; below them the errors.",
    ),
    Figure(
        "divergences",
        "density",
        "The discriminator's output beside the best one, and the density it gives beside the exact density and a "
        "histogram of samples.",
    ),
    Figure(
        "likelihood",
        "ladder",
        "ELBO and log-likelihood of each model of binary digits on test images, one below the other.",
        of="several",
    ),
    Figure(
        "likelihood",
        "log_likelihood_{model}",
        "Log-likelihood estimate of {model} against the number of importance samples, on validation and test.",
        of="binary",
    ),
    Figure(
        "likelihood",
        "learning_curves_binary_{model}",
        "ELBO, reconstruction and KL divergence of {model} against the epoch, training and validation.",
        of="binary",
        caption="learning_curves",
    ),
    Figure("likelihood", "samples_binary_{model}", "Digits sampled from {model}.", of="binary", caption="samples"),
    Figure(
        "likelihood",
        "reconstructions_binary_{model}",
        "Test digits above their reconstructions by {model}.",
        of="binary",
        caption="reconstructions",
    ),
    Figure("quality", "fid", "FID of each model on one axis, beside that of real images."),
    Figure(
        "quality",
        "image_statistics",
        "Power spectra, ratios of sharpness and distances to those of real images, and shares of the classes.",
    ),
    Figure("quality", "confusion", "Confusion matrix of the feature classifier on test images."),
    Figure(
        "latents",
        "interpolation_{model}",
        "Images between two latents of {model} above mixtures of two images, with sharpness and feature distance.",
        of="generator",
    ),
    Figure(
        "latents",
        "latents_{model}",
        "Images of {model} with its strongest and weakest latents moved up and down, and the effect of all latents.",
        of="generator",
    ),
    Figure(
        "training",
        "learning_curves_{model}",
        "ELBO, reconstruction and KL divergence of {model} against the epoch, training and validation.",
        of="encoder",
    ),
    Figure(
        "training",
        "reconstructions_{model}",
        "Test images above their reconstructions by {model}.",
        of="encoder",
        caption="image_reconstructions",
    ),
    Figure(
        "training",
        "training_{model}",
        "Critic's estimate, gradient norm, loss and validation FID of {model} against the epoch.",
        of="critic",
        caption="gan_training",
    ),
    Figure("training", "frames_{model}", "Samples of {model} from the same latents at several epochs.", of="critic"),
    Figure("comparison", "summary", "Every metric of every model and reference with its interval, a panel each."),
    Figure("comparison", "fid_curve", "FID of each model and of real training images against the number of samples."),
    Figure(
        "comparison",
        "nearest_{model}",
        "Samples of {model}, each beside the training images nearest to it.",
        of="images",
    ),
)
SECTIONS = tuple(dict.fromkeys(figure.section for figure in FIGURES))
OF_IMAGES = ("quality", "latents", "training", "comparison")  # sections without figures if there is no image model


def figures_of(config):
    """The figures that a run with a completed configuration has: [(row, model, name)], model "" where it is of none."""
    binary, images = config["likelihood"]["models"], config["images"]["models"]
    found = []
    for figure in FIGURES:
        if figure.section in OF_IMAGES and not images:
            continue
        tables = {"": [""], "several": [""] if len(binary) > 1 else [], "binary": binary, "images": images}
        models = tables[figure.of] if figure.of in tables else models_with(figure.of, images)
        found += [(figure, model, figure.name.format(model=model)) for model in models]
    return found
