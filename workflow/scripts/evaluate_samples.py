"""Measure what a model's samples are like: sharpness, spectrum, diversity, classes.

Every number stands beside that of real images, in sets of one size: test images, the reference,
and disjoint random sets of training images, whose spread is the noise: a generator that
copied reality would differ from the test images as much as they do. Where there are fewer real
images than samples, a random subset of the samples is used.

  sharpness             luminance difference of neighbouring pixels, grey levels
  high_frequency_power  variance of the luminance above 0.25 cycles/pixel, squared grey levels
  pixel_distance, feature_distance  mean over all pairs in the set; pixels: root mean square of
                        the differences in grey levels; features: Euclid on the classifier's 512
  pixel_nearest, feature_nearest  median distance to the nearest other image of the set
  class_entropy         of the classifier's first choices, nats
  class_divergence      Jensen-Shannon, of their histogram to the test images', nats
  top_probability       the classifier's mean probability of its first choice

The JSON gives `samples`, `train` and `test`, each with the value of every measure; standard errors
over images, or for `train` the standard deviation over sets; and ratios to the test images.

example:
  python workflow/scripts/evaluate_samples.py --samples results/samples/gan \\
      --data resources/prepared/embedded/svhn.npz --classifier classifier.safetensors \\
      --name gan --output gan
"""

from pathlib import Path

from genlab import InputError, cli, files, log, provenance


def parser():
    result = cli.parser(__doc__, seed=True, device=True)
    result.add_argument(
        "--samples", type=Path, required=True, metavar="DIR", help="folder with one folder of PNG images in it"
    )
    result.add_argument("--data", type=Path, required=True, metavar="NPZ", help="prepared colour images")
    result.add_argument("--classifier", type=Path, required=True, metavar="WEIGHTS", help="classifier of the features")
    result.add_argument("--name", required=True, help="the model's name")
    result.add_argument(
        "--output", type=Path, required=True, metavar="DIR",
        help="folder to write: statistics.json (the measures) and spectrum.csv (power spectra)",
    )  # fmt: skip
    result.add_argument(
        "--floor-draws", type=cli.positive, default=10, metavar="N",
        help="sets of training images, if there are enough (default: 10)",
    )  # fmt: skip
    return result


def main(options):
    if options.floor_draws < 2:
        raise InputError("--floor-draws 1: a spread needs two sets of training images or more")
    import numpy as np
    import pandas
    from genlab.data import arrays, images
    from genlab.models import classifier
    from genlab.training import loop

    device = loop.set_up(options.device, options.threads, options.seed)
    network, network_about = classifier.load_classifier(options.classifier, device)
    prepared = arrays.load_images(options.data)
    available, batches = images.read_directory(options.samples)
    size = min(available, len(prepared.test_images), len(prepared.train_images) // 2)
    if size < 2:
        raise InputError(
            f"{options.samples}: {available} samples, {len(prepared.test_images)} test and "
            f"{len(prepared.train_images)} training images; expected 2, 2 and 4 or more"
        )
    draws = min(options.floor_draws, len(prepared.train_images) // size)
    if size < available or draws < options.floor_draws:
        log.info("%s: %d of %d samples, %d sets of training images", options.name, size, available, draws)

    rng = np.random.default_rng(options.seed)

    def chosen(pool, sets=1):
        return np.sort(rng.permutation(len(pool))[: sets * size].reshape(sets, size))

    samples = np.concatenate(list(batches))
    train, test = prepared.train_images, prepared.test_images
    sets = [(samples, chosen(samples)[0]), (test, chosen(test)[0]), *((train, rows) for rows in chosen(train, draws))]
    with cli.progress(sets, label=options.name, unit="set") as bar:
        measured, spectra = zip(*(measure(pool[rows], network) for pool, rows in bar), strict=True)
    sampled, tested, *trained = compare(measured)

    frequency, power, error = spectra[0]
    columns = {"frequency": frequency, "samples": power, "samples_error": error}
    columns |= {"test": spectra[1][1], "test_error": spectra[1][2]}
    several = np.array([power for _, power, _ in spectra[2:]])
    columns |= {"train": several.mean(0), "train_sd": several.std(0, ddof=1)}
    with files.atomic(options.output / "spectrum.csv") as temporary:
        pandas.DataFrame(columns).to_csv(temporary, index=False)
    result = {
        "model": options.name,
        "data": prepared.about,
        "seed": options.seed,
        "images": size,
        "available": available,
        "draws": draws,
        "samples": sampled,
        "train": over_draws(trained),
        "test": tested,
        "provenance": provenance.record(options, classifier=network_about, device=device.type),
    }
    files.write_json(options.output / "statistics.json", result)
    print(f"{options.name}: {size:,} samples; training images: mean +- standard deviation of {draws} sets")
    print(f"{'':22}{'samples':>10}{'test':>10}{'training':>10}")
    for name, number in result["samples"].items():
        if name != "class_shares":
            train = result["train"][name]
            print(
                f"{name:22}{number['value']:10.4g}{result['test'][name]['value']:10.4g}{train['value']:10.4g} "
                f"+- {train['sd']:.2g}"
            )


def measure(images, network):
    """The measures of one set of images, and its spectrum: frequencies, mean power, its standard error."""
    import numpy as np
    from genlab.measures import image_statistics, intervals
    from genlab.models import classifier

    def mean(values, factor=1):
        value, error = intervals.mean_and_error(values)
        return {"value": float(value), "standard_error": float(factor * error)}

    features, logits = classifier.classify(network, images)
    frequency, power = image_statistics.power_spectrum(images)
    pixels = images.reshape(len(images), -1)
    pixel_distance, pixel_nearest = image_statistics.pairwise_distances(pixels / pixels.shape[1] ** 0.5)
    feature_distance, feature_nearest = image_statistics.pairwise_distances(features)
    shares = image_statistics.class_histogram(logits.argmax(1), logits.shape[1])
    result = {
        "sharpness": mean(image_statistics.sharpness(images)),
        "high_frequency_power": mean(image_statistics.high_frequency_power(frequency, power)),
        # A mean over pairs varies like twice the mean over images of each one's distances (Hoeffding 1948).
        "pixel_distance": mean(pixel_distance, 2),
        "feature_distance": mean(feature_distance, 2),
        "pixel_nearest": {"value": float(np.median(pixel_nearest))},
        "feature_nearest": {"value": float(np.median(feature_nearest))},
        "class_entropy": {"value": image_statistics.entropy(shares)},
        "top_probability": mean(image_statistics.top_probability(logits)),
        "class_shares": shares.tolist(),
    }
    return result, (frequency, *intervals.mean_and_error(power, axis=0))


def compare(measured):
    """Add the divergence of classes to the second set, the test images, and every value's ratio to its value."""
    from genlab.measures import image_statistics

    test = measured[1]
    for each in measured:
        for name, number in each.items():
            if name != "class_shares" and test[name]["value"] > 0:
                number["ratio_to_test"] = number["value"] / test[name]["value"]
        each["class_divergence"] = {
            "value": image_statistics.jensen_shannon(each["class_shares"], test["class_shares"])
        }
    return measured


def over_draws(trained):
    """Means and standard deviations of the measures over sets, and the mean shares of the classes."""
    import numpy as np

    result = {}
    for name, number in trained[0].items():
        if name == "class_shares":
            result[name] = np.mean([each[name] for each in trained], axis=0).tolist()
            continue
        values = [each[name]["value"] for each in trained]
        result[name] = {"value": float(np.mean(values)), "sd": float(np.std(values, ddof=1))}
        if "ratio_to_test" in number:
            result[name]["ratio_to_test"] = float(np.mean([each[name]["ratio_to_test"] for each in trained]))
    return result


if __name__ == "__main__":
    cli.run(main, parser())
