"""A program that draws images without a network: two random colours, blended along a random direction.

usage: python draw.py FOLDER COUNT SEED
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

folder, count, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
rng = np.random.default_rng(seed)
rows, columns = np.mgrid[-1:1:32j, -1:1:32j]
folder.mkdir(parents=True)
for number in range(count):
    angle, colours = rng.uniform(0, 2 * np.pi), rng.uniform(0, 255, (2, 1, 1, 3))
    share = (1 + np.tanh(2 * (np.cos(angle) * rows + np.sin(angle) * columns)))[..., None] / 2
    picture = share * colours[0] + (1 - share) * colours[1]
    Image.fromarray(picture.round().astype(np.uint8)).save(folder / f"{number:04}.png")
