"""How many colour images a configuration has, told before any is read or downloaded."""

from .arrays import OFFICIAL

COUNTS = {"train": 73257, "test": 26032}  # of the official files of SVHN


def of_images(config):
    """{"train", "valid", "test": number of images} of a completed configuration; None where it does not tell."""
    images = config["data"]["images"]
    if images["source"] == "embedded":
        found = {split: images["embedded"][split] for split in COUNTS}
    elif images["source"] == "official":
        if any(not known.items() <= images["files"][split].items() for split, known in OFFICIAL["SVHN"].items()):
            return None
        found = COUNTS
    else:
        from . import own_images

        found = {split: own_images.count(images[split]) for split in COUNTS}
    valid = round(found["train"] * images["valid_fraction"])
    return {"train": found["train"] - valid, "valid": valid, "test": found["test"]}
