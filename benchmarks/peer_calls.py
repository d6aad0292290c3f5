"""How `peers.py` calls each package and, beside it, this project.

The function of a way, such as `frechet_clean_fid`, imports its package and returns a function of the data. Every turn
gets a process of its own in which `on_features` or one like it makes the data, calls the function once on little data,
and measures the second call. Packages that read images are given features: their own calculation begins there.
"""

import hashlib

import frechet_distance
import likelihood
import side_by_side

NEIGHBOURS = 5
LATENTS = 100  # pythae's default: how many latents of an image it decodes at a time


def on_features(way, threads, counts, dimensions):
    """(times, result) of a way on two sets of features, real and generated."""
    return on_two(way, frechet_distance.features(threads, counts, dimensions))


def on_similar_features(way, threads, count, dimensions):
    """(times, result) of a way on two sets of one size that overlap. Far apart, precision would be 0 and agree easily.

    They differ in 16 directions, as features of images do, whatever the number of dimensions.
    """
    side_by_side.limit_threads(threads)
    import numpy as np

    rng = np.random.default_rng(1)
    mixing = rng.normal(size=(16, dimensions))
    sets = [rng.normal(shift, scale, (count, 16)) @ mixing for shift, scale in ((0, 1), (0.3, 0.8))]
    return on_two(way, [(each + rng.normal(0, 0.1, each.shape)).astype(np.float32) for each in sets])


def on_two(way, sets):
    function = way()
    function(*(vectors[:20, :4] for vectors in sets))
    return side_by_side.timed(lambda: function(*sets))


def on_file(way, threads, path):
    """(times, checksum of the arrays) of a way to read a file."""
    side_by_side.limit_threads(threads)
    import numpy as np

    function = way()
    times, arrays = side_by_side.timed(lambda: function(path))
    return times, hashlib.sha256(b"".join(np.ascontiguousarray(array) for array in arrays)).hexdigest()


def frechet_ours():
    from genlab.measures import frechet

    return lambda *sets: frechet.calculate_fid_score(*map(frechet_distance.batches, sets))


def frechet_torchmetrics():
    import torch
    from torchmetrics.image import fid

    class Given(torch.nn.Identity):
        """A network whose images are features already."""

    def distance(*sets):
        Given.num_features = sets[0].shape[1]
        metric = fid.FrechetInceptionDistance(feature=Given())
        for vectors, real in zip(sets, (True, False), strict=True):
            for batch in frechet_distance.batches(vectors):
                metric.update(torch.from_numpy(batch), real=real)
        return float(metric.compute())

    return distance


def frechet_torch_fidelity():
    import torch
    from torch_fidelity import metric_fid

    def distance(*sets):
        statistics = [metric_fid.fid_features_to_statistics(torch.from_numpy(vectors)) for vectors in sets]
        return metric_fid.fid_statistics_to_metric(*statistics, verbose=False)[metric_fid.KEY_METRIC_FID]

    return distance


def frechet_pytorch_fid():
    import numpy as np
    from pytorch_fid import fid_score

    def distance(*sets):
        gathered = [vectors.astype(np.float64) for vectors in sets]  # as in its own program
        moments = [(np.mean(vectors, axis=0), np.cov(vectors, rowvar=False)) for vectors in gathered]
        return float(fid_score.calculate_frechet_distance(*moments[0], *moments[1]))

    return distance


def frechet_clean_fid():
    from cleanfid import fid

    return lambda *sets: float(fid.fid_from_feats(*sets))


def kernel_ours():
    from genlab.measures import metrics

    return metrics.kernel_distance


def kernel_torchmetrics(subsets, size):
    """The mean over `subsets` pairs of subsets of `size` vectors, like the two below."""
    import torch
    from torchmetrics.image import kid

    def distance(*sets):
        torch.manual_seed(1)
        size_of_subsets = min(size, *map(len, sets))
        metric = kid.KernelInceptionDistance(torch.nn.Identity(), subsets, size_of_subsets)
        for vectors, real in zip(sets, (True, False), strict=True):
            metric.update(torch.from_numpy(vectors), real=real)
        return float(metric.compute()[0])

    return distance


def kernel_torch_fidelity(subsets, size):
    import torch
    from torch_fidelity import metric_kid

    def distance(*sets):
        options = {"kid_subsets": subsets, "kid_subset_size": min(size, *map(len, sets)), "verbose": False}
        found = metric_kid.kid_features_to_metric(*map(torch.from_numpy, sets), **options)
        return found[metric_kid.KEY_METRIC_KID_MEAN]

    return distance


def kernel_clean_fid(subsets, size):
    import numpy as np
    from cleanfid import fid

    def distance(*sets):
        np.random.seed(1)  # noqa: NPY002  the package draws from it
        return fid.kernel_distance(*sets, num_subsets=subsets, max_subset_size=size)

    return distance


def kernel_error(subsets, size, threads, counts, dimensions):
    """Standard error that drawing `subsets` pairs of subsets adds to the kernel distance, from 30 pairs."""
    sets = frechet_distance.features(threads, counts, dimensions)
    import numpy as np
    from genlab.measures import metrics

    rng, size = np.random.default_rng(2), min(size, *counts)
    values = [metrics.kernel_distance(*(rng.choice(each, size, replace=False) for each in sets)) for _ in range(30)]
    return float(np.std(values, ddof=1)) / subsets**0.5


def neighbours_ours():
    from genlab.measures import metrics

    return lambda real, fake: metrics.neighbourhoods(real, fake, NEIGHBOURS)


def neighbours_prdc():
    import prdc

    return lambda real, fake: {name: float(x) for name, x in prdc.compute_prdc(real, fake, NEIGHBOURS).items()}


def neighbours_torch_fidelity():
    import torch
    from torch_fidelity import metric_prc

    def measure(real, fake):
        vectors = (torch.from_numpy(each) for each in (fake, real))
        found = metric_prc.prc_features_to_metric(*vectors, prc_neighborhood=NEIGHBOURS, verbose=False)
        return {"precision": found[metric_prc.KEY_METRIC_PRECISION], "recall": found[metric_prc.KEY_METRIC_RECALL]}

    return measure


def pythae_vae(model):
    """pythae's VAE with the plain layers and the weights of a `vae.VAE` of binary images."""
    import plain
    import torch
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    encoder, decoder = plain.binary_vae(model)

    class Encoder(BaseEncoder):
        def forward(self, x):
            mean, log_variance = encoder(x).chunk(2, dim=1)
            return ModelOutput(embedding=mean, log_covariance=log_variance)

    class Decoder(BaseDecoder):
        def forward(self, z):
            return ModelOutput(reconstruction=torch.sigmoid(decoder(z)))

    settings = VAEConfig(input_dim=(1, 28, 28), latent_dim=model.latents, reconstruction_loss="bce")
    return VAE(settings, Encoder(), Decoder()).eval()


def likelihood_pythae(threads, count, samples, batch):
    """(times, estimates) of `VAE.get_nll`, which goes image by image; called for each, to have its estimate."""
    model, images = likelihood.model_and_images(threads, count)
    import torch

    theirs, floats = pythae_vae(model), images.float().view(-1, 1, 1, 28, 28)
    with torch.no_grad():
        theirs.get_nll(floats[0], batch, batch)
        # In spite of its name, it returns the log-likelihood and not its negative.
        return side_by_side.timed(lambda: [float(theirs.get_nll(image, samples, batch)) for image in floats])


def likelihood_of_the_same_latents(threads, samples, batch):
    """(pythae's, our) estimates of three images from the same latents, which pythae would draw itself."""
    model, images = likelihood.model_and_images(threads, 3)
    import torch
    from genlab.models import gaussian, vae

    theirs, x = pythae_vae(model), images.float()
    noise = torch.randn(len(x), samples, model.latents)
    with torch.no_grad():
        mean, log_variance = model.posterior(x)
        z = gaussian.reparameterise(mean[:, None], log_variance[:, None], noise)
        parts = iter(noise.flatten(0, 1).split(batch))
        theirs._sample_gauss = lambda mean, std: (mean + std * (part := next(parts)), part)
        expected = [float(theirs.get_nll(image, samples, batch)) for image in x.view(-1, 1, 1, 28, 28)]
        return expected, vae.importance_log_likelihood(model, x, z).tolist()


def write_files(threads, folder, lines, images):
    """Write train.amat of random bits and train.mat of as many random images, about as compressible as SVHN's."""
    side_by_side.limit_threads(threads)
    import numpy as np
    from genlab.data import amat
    from scipy import io

    rng = np.random.default_rng(1)
    amat.write(folder / "train.amat", rng.integers(0, 2, (lines, amat.PIXELS), dtype=np.uint8))
    values = np.uint8(rng.normal(128, 20, (32, 32, 3, images)).clip(0, 255))
    labels = np.arange(images, dtype=np.uint8)[:, None] % 10 + 1
    io.savemat(folder / "train.mat", {"X": values, "y": labels}, do_compression=True)  # as the official files are


def amat_ours():
    from genlab.data import amat

    return lambda path: [amat.read(path)]


def amat_tensorflow_datasets():
    """As version 4.9.10 reads the file, in one statement. Its own function opens the file by tensorflow.

    The bits are packed afterwards, to compare them with ours.
    """
    import numpy as np

    def read(path):
        with open(path, "rb") as file:
            images = np.loadtxt(file, delimiter=" ").astype(np.uint8).reshape(-1, 28, 28, 1)
        return [np.packbits(images.reshape(len(images), -1), axis=1)]

    return read


def mat_ours():
    from genlab.data import svhn

    return svhn.read_mat


def mat_scipy():
    """With what a user adds: the layout of torch, and the label 0 for the digit 0."""
    import numpy as np
    from scipy import io

    def read(path):
        content = io.loadmat(path)
        return np.ascontiguousarray(content["X"].transpose(3, 2, 0, 1)), content["y"][:, 0] % 10

    return read
