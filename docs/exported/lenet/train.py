"""Training of LeNet as lenet_solver.prototxt says: Caffe's updates in plain PyTorch.

    python train.py                 begins
    python train.py --resume        goes on from the newest snapshot
    python train.py --weights FILE  begins with the weights of a .safetensors or a .pt

Reads the LMDB examples/digits/digits_train_lmdb and the LMDB
examples/digits/digits_test_lmdb; --workers N reads with N processes.

Every 500 updates, and at the end, it writes examples/digits/lenet_iter_N.pt;
torch.load(that)['model'] are the weights.

The weights begin as Caffe's fillers draw them, from torch's random numbers in place
of Caffe's.
"""

import argparse
import functools
import glob
import os
import sys

import lmdb
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset

MAX_ITER = 500
DISPLAY = 50
TEST_INTERVAL = 100
TEST_ITER = 6
SNAPSHOT = 500
PREFIX = "examples/digits/lenet"


def positions(x, label, axis):
    """Scores as (positions, classes) and labels as (positions,), whole numbers."""
    scores = x.movedim(axis, -1)
    return scores.reshape(-1, scores.shape[-1]), label.reshape(-1).long()


def label_losses(scores, target):
    """-log softmax(scores)[target].

    The value, not the gradient, stops where a probability leaves float32's range.
    """
    losses = F.cross_entropy(scores, target, reduction="none")
    return losses + (losses.clamp(max=87.33654785) - losses).detach()


def softmax_loss(x, label, axis=1):
    """Mean of -log softmax(x)[label] over all positions."""
    return label_losses(*positions(x, label, axis)).mean()


def top_k_hits(x, label, top_k, axis):
    """Whether each label is among the top_k scores.

    A score equal to the label's counts against it.
    """
    scores, target = positions(x, label, axis)
    own = scores.gather(1, target[:, None])
    return (scores >= own).sum(1) <= top_k


def top_k_accuracy(x, label, top_k=1, axis=1):
    """Share of positions whose label is among the top_k scores."""
    return top_k_hits(x, label, top_k, axis).to(x.dtype).mean()


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 20, 5)
        self.conv2 = nn.Conv2d(20, 50, 5)
        self.ip1 = nn.Linear(800, 500)
        self.ip2 = nn.Linear(500, 10)

    def forward(self, data, label):
        data = data.to(memory_format=torch.channels_last)
        pool1 = F.max_pool2d(self.conv1(data), 2)
        pool2 = F.max_pool2d(self.conv2(pool1), 2)
        ip1 = F.relu(self.ip1(pool2.flatten(1)))
        return softmax_loss(self.ip2(ip1), label)


class LeNetTest(LeNet):
    """The same net in phase TEST, which gives accuracy, loss."""

    def forward(self, data, label):
        data = data.to(memory_format=torch.channels_last)
        pool1 = F.max_pool2d(self.conv1(data), 2)
        pool2 = F.max_pool2d(self.conv2(pool1), 2)
        ip1 = F.relu(self.ip1(pool2.flatten(1)))
        ip2 = self.ip2(ip1)
        accuracy = top_k_accuracy(ip2, label)
        loss = softmax_loss(ip2, label)
        return {"accuracy": accuracy, "loss": loss}


def varint(message, at):
    """The number that begins at a byte of a protobuf message, and where it ends."""
    number = shift = 0
    while True:
        byte = message[at]
        number |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return number, at


def message_fields(message):
    """The values of a protobuf message by field number: whole numbers, or bytes."""
    found, at = {}, 0
    while at < len(message):
        key, at = varint(message, at)
        if key & 7 == 0:
            value, at = varint(message, at)
        elif key & 7 in (2, 5):  # bytes of any length, or four
            size, at = varint(message, at) if key & 7 == 2 else (4, at)
            value, at = message[at : at + size], at + size
        else:
            raise ValueError("a record of the database is not a Datum")
        found.setdefault(key >> 3, []).append(value)
    return found


def read_datum(record):
    """The pixels (C, H, W) and the label of Caffe's Datum, of bytes as they are."""
    fields = message_fields(record)
    shape = [fields[number][-1] for number in (1, 2, 3)]
    label = (fields.get(5, [0])[-1] + 2**31) % 2**32 - 2**31  # an int32
    pixels = np.frombuffer(fields[4][-1], np.uint8).reshape(shape)
    return torch.from_numpy(pixels.copy()), label


@functools.cache
def open_database(path):
    """An LMDB, which a process can open only once."""
    return lmdb.open(path, readonly=True, lock=False, readahead=False)


class Database(Dataset):
    """Images and labels of an LMDB in the order of its keys, over and over."""

    def __init__(self, path, transform=None):
        self.path, self.transform = os.path.realpath(path), transform
        with open_database(self.path).begin() as transaction:
            self.keys = list(transaction.cursor().iternext(values=False))

    def __getitem__(self, number):
        key = self.keys[number % len(self.keys)]
        with open_database(self.path).begin() as transaction:
            image, label = read_datum(transaction.get(key))
        return (self.transform(image) if self.transform else image), label


def batches(dataset, size, first, device, workers):
    """Batches from record `first` on, the records in order and over and over."""
    records = range(first, sys.maxsize)
    seeds = torch.Generator()  # the workers', so that none is drawn from torch's own
    loader = DataLoader(
        dataset,
        size,
        sampler=records,
        num_workers=workers,
        pin_memory=torch.device(device).type == "cuda",
        generator=seeds,
    )
    for batch in loader:
        yield [tensor.to(device, non_blocking=True).float() for tensor in batch]


@torch.no_grad()
def initialize(net):
    """Draw the first weights as Caffe's fillers do."""
    for name, parameter in net.named_parameters():
        if name.endswith(".bias"):
            nn.init.zeros_(parameter)
        else:
            nn.init.kaiming_uniform_(parameter, nonlinearity="linear")


def multipliers(name):
    """Factors on the learning rate and on the weight decay of a parameter."""
    if name.endswith(".bias"):
        return 2, 1
    return 1, 1


def parameter_groups(net):
    """The parameters by their multipliers."""
    groups = {}
    for name, parameter in net.named_parameters():
        groups.setdefault(multipliers(name), []).append(parameter)
    return [
        {"params": parameters, "lr_mult": lr_mult, "decay_mult": decay_mult}
        for (lr_mult, decay_mult), parameters in groups.items()
    ]


def learning_rate(iteration):
    """Caffe's policy inv."""
    return 0.01 * (1 + 0.0001 * iteration) ** -0.75


def step(optimizer, iteration):
    """Make the update that the gradients in the parameters ask for.

    Caffe keeps the learning rate inside the momentum: v becomes 0.9 * v + rate *
    (gradient + decay * w), and w moves by -v. torch's SGD does the same at a rate of
    1, with gradients that are multiplied by the rate.
    """
    rate = learning_rate(iteration)
    for group in optimizer.param_groups:
        lr = rate * group["lr_mult"]
        group["weight_decay"] = lr * 0.0005 * group["decay_mult"]
        for parameter in group["params"]:
            parameter.grad *= lr
    optimizer.step()


def prepare(image):
    """An image (C, H, W) as the net reads it."""
    return image.float() * 0.00390625


def show(kind, outputs):
    """Print a net's outputs as Caffe logs them."""
    values = [(name, x) for name, y in outputs.items() for x in y.flatten().tolist()]
    for number, (name, value) in enumerate(values):
        print(f"    {kind} net output #{number}: {name} = {value:.6g}")


class Training:
    """The net, its optimizer, and how far they have come."""

    def __init__(self, device, seed, workers):
        self.device, self.seed, self.workers = device, seed, workers
        torch.manual_seed(seed)
        self.net = LeNet()
        initialize(self.net)
        self.net.to(device)
        self.test_net = LeNetTest()
        self.test_net.to(device).eval()
        weights = self.net.state_dict()  # the same tensors for all nets
        self.test_net.load_state_dict(weights, assign=True)
        self.optimizer = torch.optim.SGD(parameter_groups(self.net), lr=1, momentum=0.9)
        self.iteration = 0
        self.tests = 0

    def train_batches(self):
        """The batches that are still to be trained with."""
        data = Database("examples/digits/digits_train_lmdb", prepare)
        return batches(data, 64, 64 * self.iteration, self.device, self.workers)

    def test_batches(self):
        """The batches that are still to be tested with."""
        data = Database("examples/digits/digits_test_lmdb", prepare)
        return batches(data, 60, 60 * self.tests * TEST_ITER, self.device, self.workers)

    def update(self, batches):
        """One iteration: the gradients of a batch, and an update."""
        self.optimizer.zero_grad()
        loss = self.net(*next(batches))
        loss.backward()
        if self.iteration % DISPLAY == 0:
            print(f"Iteration {self.iteration}, loss = {loss:.6g}")
            show("Train", {"loss": loss})
            rate = learning_rate(self.iteration)
            print(f"Iteration {self.iteration}, lr = {rate:.6g}")
        step(self.optimizer, self.iteration)
        self.iteration += 1

    @torch.no_grad()
    def test(self, batches):
        """Print the mean of each output over the test's batches."""
        print(f"Iteration {self.iteration}, Testing net (#0)")
        sums = {}
        for _ in range(TEST_ITER):
            outputs = self.test_net(*next(batches))
            for name, output in outputs.items():
                sums[name] = sums.get(name, 0) + output
        show("Test", {name: total / TEST_ITER for name, total in sums.items()})
        self.tests += 1

    def snapshot(self):
        """Write all that the training needs to go on."""
        path = f"{PREFIX}_iter_{self.iteration}.pt"
        state = {
            "iteration": self.iteration,
            "tests": self.tests,
            "seed": self.seed,
            "model": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all(),
        }
        torch.save(state, path + ".tmp")
        os.replace(path + ".tmp", path)
        print(f"Snapshotting to {path}")

    def load(self, path):
        """Begin with the weights of a .safetensors file, or of a .pt that torch saved."""
        if path.endswith(".safetensors"):
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
        self.net.load_state_dict(state.get("model", state))

    def restore(self, path):
        """Go on where a snapshot was written."""
        state = torch.load(path, map_location="cpu", weights_only=True)
        self.iteration, self.seed = state["iteration"], state["seed"]
        self.tests = state["tests"]
        self.net.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"])
        if len(state["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(state["cuda"])

    def run(self):
        """Train up to MAX_ITER."""
        batches = self.train_batches()
        test_batches = self.test_batches()
        while self.iteration < MAX_ITER:
            if self.iteration % TEST_INTERVAL == 0:
                self.test(test_batches)
            self.update(batches)
            if self.iteration % SNAPSHOT == 0:
                self.snapshot()
        with torch.no_grad():
            loss = self.net(*next(batches))
        print(f"Iteration {self.iteration}, loss = {loss:.6g}")
        self.test(test_batches)


def newest():
    """The snapshot of the most iterations, or None."""
    paths = glob.glob(glob.escape(PREFIX) + "_iter_*.pt")
    return max(paths, key=lambda path: int(path[:-3].rpartition("_")[2]), default=None)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--device", default="cuda:0" if torch.cuda.is_available() else "cpu"
    )
    parser.add_argument("--weights", metavar="FILE", help="begin with them")
    parser.add_argument(
        "--resume",
        metavar="FILE",
        nargs="?",
        const="newest",
        help="from it, or the newest",
    )
    parser.add_argument("--seed", type=int, default=1701)
    parser.add_argument(
        "--workers", type=int, default=0, help="processes that read data"
    )
    args = parser.parse_args()
    torch.backends.cudnn.allow_tf32 = False  # convolutions in float32, as Caffe
    os.makedirs(os.path.dirname(PREFIX) or ".", exist_ok=True)
    training = Training(args.device, args.seed, args.workers)
    if args.weights:
        training.load(args.weights)
    snapshot = newest() if args.resume == "newest" else args.resume
    if snapshot:
        training.restore(snapshot)
    training.run()


if __name__ == "__main__":
    main()
