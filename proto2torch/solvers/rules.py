"""Every update rule by Caffe's name for it, and how a solver file's fields become its arguments."""

from __future__ import annotations

from proto2torch.solvers.adadelta import AdaDelta
from proto2torch.solvers.adagrad import AdaGrad
from proto2torch.solvers.adam import Adam
from proto2torch.solvers.base import Params, Rule
from proto2torch.solvers.definition import SolverDefinition
from proto2torch.solvers.nesterov import Nesterov
from proto2torch.solvers.rmsprop import RMSProp
from proto2torch.solvers.sgd import SGD

RULES: dict[str, type[Rule]] = {
    "SGD": SGD,
    "Nesterov": Nesterov,
    "AdaGrad": AdaGrad,
    "RMSProp": RMSProp,
    "AdaDelta": AdaDelta,
    "Adam": Adam,
}


def build(definition: SolverDefinition, params: Params) -> Rule:
    """The optimizer that a solver file asks for, over `params` (tensors, or groups with lr_mult and decay_mult)."""
    rule = RULES[definition.type]
    given = {name: getattr(definition, name) for name in definition.hyperparameters}
    return rule(
        params,
        lr=definition.base_lr,
        weight_decay=definition.weight_decay,
        regularization=definition.regularization_type,
        **given,
    )
