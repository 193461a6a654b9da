"""How a script begins with weights, writes snapshots and goes on from them."""

from __future__ import annotations

from proto2torch.train_script.parts import Parts, method

LOAD = '''\
    def load(self, path):
        """Begin with the weights of a .safetensors file, or of a .pt that torch saved."""
        if path.endswith(".safetensors"):
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
        self.net.load_state_dict(state.get("model", state))'''
NEWEST = '''\
def newest():
    """The snapshot of the most iterations, or None."""
    paths = glob.glob(glob.escape(PREFIX) + "_iter_*.pt")
    return max(paths, key=lambda path: int(path[:-3].rpartition("_")[2]), default=None)'''


def snapshot(parts: Parts) -> str:
    """The method `snapshot`: all that a training needs to go on, written whole or not at all."""
    lines = ['path = f"{PREFIX}_iter_{self.iteration}.pt"', "state = {", '    "iteration": self.iteration,']
    lines += ['    "tests": self.tests,'] * bool(parts.tests)
    lines += ['    "seed": self.seed,', '    "model": self.net.state_dict(),']
    lines += ['    "optimizer": self.optimizer.state_dict(),']
    lines += [f'    "memories": [dict(net.named_buffers()) for net in {_nets(parts)}],'] * parts.remembers
    lines += ['    "random": torch.get_rng_state(),', '    "cuda": torch.cuda.get_rng_state_all(),', "}"]
    lines += ['torch.save(state, path + ".tmp")', 'os.replace(path + ".tmp", path)']
    return method(
        "snapshot(self)", "Write all that the training needs to go on.", [*lines, 'print(f"Snapshotting to {path}")']
    )


def restore(parts: Parts) -> str:
    """The method `restore`."""
    lines = ['state = torch.load(path, map_location="cpu", weights_only=True)']
    lines += ['self.iteration, self.seed = state["iteration"], state["seed"]']
    lines += ['self.tests = state["tests"]'] * bool(parts.tests)
    lines += ['self.net.load_state_dict(state["model"])', 'self.optimizer.load_state_dict(state["optimizer"])']
    if parts.remembers:
        lines += [
            f'for net, memory in zip({_nets(parts)}, state["memories"]):',
            "    for name, value in memory.items():",
            '        owner, _, buffer = name.rpartition(".")',
            "        setattr(net.get_submodule(owner), buffer, value.to(self.device))",
        ]
    lines += ['torch.set_rng_state(state["random"])', 'if len(state["cuda"]) == torch.cuda.device_count():']
    lines += ['    torch.cuda.set_rng_state_all(state["cuda"])']
    return method("restore(self, path)", "Go on where a snapshot was written.", lines)


def _nets(parts: Parts) -> str:
    return f"[{', '.join(f'self.{name}' for name in ('net', *(parts.test_nets if parts.tests else ())))}]"
