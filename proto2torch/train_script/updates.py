"""The learning-rate policy and the update rule of a script, by torch's own optimizers.

torch's rules are Caffe's with two exceptions. Caffe's SGD and Nesterov keep the learning rate inside the momentum,
which torch's do at a rate of 1 over gradients that are multiplied by it. Caffe's Adam adds delta before the bias
correction, which is an eps of delta / sqrt(1 - beta2^t).
"""

from __future__ import annotations

from dataclasses import dataclass

from proto2torch.errors import SolverError, UnsupportedError
from proto2torch.layers.base import literal, number
from proto2torch.solvers.definition import SolverDefinition
from proto2torch.train_script.text import docstring, laid_out

PARAMETERS = "ßparameters"
"""What stands for the parameters in the call of an optimizer."""
_INSIDE = ("SGD", "Nesterov")
"""The rules whose history has the learning rate inside."""
_LARGEST = 700  # exponents of a float64


@dataclass(frozen=True)
class Updates:
    """The source of a solver's updates."""

    optimizer: str
    """The constructor of the optimizer, over PARAMETERS."""
    functions: tuple[str, ...]
    """`learning_rate` and `step`."""
    group_decay: str | None
    """The weight decay of a group with decay_mult 1; empty where `step` needs the factor itself, None for no decay."""


def write(d: SolverDefinition, grouped: bool) -> Updates:
    """The updates of a solver, over parameter groups with multipliers or over parameters alone.

    Raises:
        UnsupportedError: a policy that a script cannot have.
    """
    field = next((f for f in ("base_lr", "momentum", "weight_decay", "delta") if getattr(d, f) < 0), None)
    if field:
        message = f"torch's optimizers take no {field} below 0. Received: {getattr(d, field):g}"
        raise SolverError(message, where=d.document.where(field))
    decay = number(d.weight_decay) if d.weight_decay else None
    if decay and (d.type in _INSIDE or _is_l1(d)):
        decay = ""
    plain = f", weight_decay={decay}" if decay and not grouped else ""
    return Updates(_optimizer(d, plain), (learning_rate(d), _step(d, grouped)), decay)


def _optimizer(d: SolverDefinition, decay: str) -> str:
    momentum, delta, rate = number(d.momentum), number(d.delta), "learning_rate(0)"
    call = {
        "SGD": f"SGD({PARAMETERS}, lr=1, momentum={momentum})",
        "Nesterov": f"SGD({PARAMETERS}, lr=1, momentum={momentum}, nesterov=True)",
        "AdaGrad": f"Adagrad({PARAMETERS}, lr={rate}, eps={delta}{decay})",
        "RMSProp": f"RMSprop({PARAMETERS}, lr={rate}, alpha={number(d.rms_decay)}, eps={delta}{decay})",
        "AdaDelta": f"Adadelta({PARAMETERS}, lr={rate}, rho={momentum}, eps={delta}{decay})",
        "Adam": f"Adam({PARAMETERS}, lr={rate}, betas=({momentum}, {number(d.momentum2)}){decay})",
    }[d.type]
    if d.momentum == 0:
        call = call.replace(", momentum=0", "").replace(", nesterov=True", "")
    return f"torch.optim.{call}"


# One update


def _step(d: SolverDefinition, grouped: bool) -> str:
    """The function that makes one update of the gradients in the parameters."""
    lines = ["def step(optimizer, iteration):", *_said(d), "    rate = learning_rate(iteration)"]
    if d.type == "Adam":
        correction = f"(1 - {number(d.momentum2)} ** (iteration + 1)) ** 0.5"
        lines.append(f"    eps = {number(d.delta)} / {correction}")
    lines.append("    for group in optimizer.param_groups:")
    rate = 'rate * group["lr_mult"]' if grouped else "rate"
    if d.type in _INSIDE:
        lines += _multiplied(d, rate, grouped)
    else:
        lines += [f'        group["lr"] = {rate}', *(['        group["eps"] = eps'] if d.type == "Adam" else [])]
        lines += _penalized(d, grouped, [])
    return laid_out("\n".join([*lines, "    optimizer.step()"]))


def _said(d: SolverDefinition) -> list[str]:
    """What the function says of itself."""
    head = "Make the update that the gradients in the parameters ask for."
    penalty = "" if not d.weight_decay else " + decay * sign(w)" if _is_l1(d) else " + decay * w"
    gradient = f"(gradient{penalty})" if penalty else "gradient"
    momentum = f"{number(d.momentum)} * v"
    move = f"{momentum} + rate * {gradient} with the new v" if d.type == "Nesterov" else "v"
    inside = (
        f"Caffe keeps the learning rate inside the momentum: v becomes {momentum} + rate * {gradient}, and w moves by "
        f"-({move}). torch's SGD does the same at a rate of 1, with gradients that are multiplied by the rate."
    ).replace("-(v)", "-v")
    adam = "Caffe's Adam adds delta before the bias correction, torch's adds eps after it."
    said = {**dict.fromkeys(_INSIDE, inside), "Adam": adam}
    return docstring([head, said[d.type]] if d.type in said else head, 4)


def _multiplied(d: SolverDefinition, rate: str, grouped: bool) -> list[str]:
    """Gradients, and with them what decays, times the rate."""
    lines, name = ([f"        lr = {rate}"], "lr") if grouped else ([], "rate")
    if d.weight_decay and not _is_l1(d):
        mult = ' * group["decay_mult"]' if grouped else ""
        lines.append(f'        group["weight_decay"] = {name} * {number(d.weight_decay)}{mult}')
    return [*lines, *_penalized(d, grouped, [f"parameter.grad *= {name}"])]


def _penalized(d: SolverDefinition, grouped: bool, then: list[str]) -> list[str]:
    """A loop over a group's parameters: the gradient of an L1 penalty, which torch's optimizers lack, and `then`."""
    lines, decay = list[str](), number(d.weight_decay)
    if _is_l1(d):
        if grouped:
            lines, decay = [f'        decay = {decay} * group["decay_mult"]'], "decay"
        then = [f"parameter.grad += {decay} * parameter.detach().sign()", *then]
    head = ['        for parameter in group["params"]:'] if then else []
    return [*lines, *head, *(f"            {statement}" for statement in then)]


def _is_l1(d: SolverDefinition) -> bool:
    return d.regularization_type == "L1" and d.weight_decay > 0


# The policy


def learning_rate(d: SolverDefinition) -> str:
    """The function that gives the rate of the update after `iteration` others."""
    base, gamma, power, less = (number(value) for value in (d.base_lr, d.gamma, d.power, -d.power))
    formula = {
        "fixed": lambda: [base],
        "step": lambda: [f"{base} * {gamma} ** (iteration // {d.stepsize})"],
        "exp": lambda: [f"{base} * {gamma}**iteration"],
        "inv": lambda: [f"{base} * (1 + {gamma} * iteration) ** {less}"],
        "multistep": lambda: [_drops(d), f"{base} * {gamma} ** sum(iteration >= drop for drop in drops)"],
        "poly": lambda: [f"{base} * (1 - iteration / {d.max_iter}) ** {power}"],
        "sigmoid": lambda: [_sigmoid(d)],
        "multifixed": lambda: _stages(d),
    }.get(d.lr_policy)
    if formula is None:
        raise UnsupportedError(
            f"a training script cannot have the policy {d.lr_policy!r}, which follows the loss",
            where=d.document.where("lr_policy"),
        )
    *before, rate = formula()
    head = ["def learning_rate(iteration):", f'    """Caffe\'s policy {d.lr_policy}."""']
    return laid_out("\n".join([*head, *(f"    {line}" for line in before), f"    return {rate}"]))


def _drops(d: SolverDefinition) -> str:
    """When the rate falls; Caffe reaches one stepvalue at each query, whatever their order."""
    reached: list[int] = []
    for value in d.stepvalue:
        reached.append(max(value, reached[-1] + 1) if reached else value)
    return f"drops = {literal(reached)}"


def _sigmoid(d: SolverDefinition) -> str:
    exponent = f"{number(-d.gamma)} * (iteration - {d.stepsize})"
    if d.gamma * max(d.stepsize, d.max_iter) > _LARGEST:
        exponent = f"min({exponent}, {_LARGEST})"
    return f"{number(d.base_lr)} / (1 + math.exp({exponent}))"


def _stages(d: SolverDefinition) -> list[str]:
    pairs = ", ".join(f"({number(rate)}, {last})" for rate, last in zip(d.stagelr, d.stageiter, strict=True))
    rate = f"next((rate for rate, last in stages if iteration <= last), {number(d.stagelr[-1])})"
    return [f"stages = [{pairs}]", rate]
