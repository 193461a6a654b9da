"""Reading a solver file: Caffe's defaults, its demands, and which nets are trained and tested."""

from __future__ import annotations

import pytest

from proto2torch.errors import Problems, SolverError, UnsupportedError
from proto2torch.prototxt import text, upgrade
from proto2torch.solvers import definition
from proto2torch.solvers.overrides import override

LEAST = 'net: "a.prototxt"\nlr_policy: "fixed"\n'


def read(more="", least=LEAST, path="solver.prototxt", **overrides):
    document = upgrade.solver(text.parse(least + more, "SolverParameter", path))
    return definition.read(override(document, overrides))


def refused(more, least=LEAST):
    with pytest.raises((SolverError, UnsupportedError)) as caught:
        read(more, least)
    return caught.value


def test_defaults_are_caffes():
    d = read()
    assert (d.type, d.regularization_type, d.iter_size, d.average_loss) == ("SGD", "L2", 1, 1)
    assert (d.base_lr, d.momentum, d.weight_decay, d.gamma, d.power) == (0, 0, 0, 0, 0)
    assert (d.delta, d.momentum2, d.rms_decay) == pytest.approx((1e-8, 0.999, 0.99))
    assert (d.max_iter, d.display, d.test_interval, d.snapshot, d.stepsize) == (0, 0, 0, 0, 0)
    assert d.test_initialization and d.snapshot_after_train and not d.snapshot_hdf5 and not d.test_compute_loss
    assert d.clip_gradients is None and d.random_seed is None and d.gpu is None
    assert d.snapshot_prefix == "solver"
    assert d.train.path == "a.prototxt" and d.tests == () and d.weights == ()


def test_the_mode_counts_only_where_the_file_says_it():
    assert read("device_id: 3").gpu is None
    assert read("solver_mode: GPU device_id: 3").gpu == 3
    assert read("solver_mode: CPU device_id: 3").gpu is None


def test_the_seed_has_32_bits():
    assert read("random_seed: 0").random_seed == 0
    assert read("random_seed: 4294967299").random_seed == 3
    assert read("random_seed: -5").random_seed is None


def test_clipping_at_zero_is_on():
    assert read("clip_gradients: 0").clip_gradients == 0.0


def test_weights_are_split_at_commas():
    assert read('weights: "a.caffemodel, b.caffemodel" weights: "c.h5"').weights == (
        "a.caffemodel",
        "b.caffemodel",
        "c.h5",
    )


def test_the_policy_has_the_files_numbers():
    policy = read('lr_policy: "multistep" base_lr: 0.5 gamma: 0.5 stepvalue: 3 stepvalue: 5', 'net: "a"\n').policy()
    assert [policy.rate(i) for i in (0, 3, 4, 5)] == [0.5, 0.25, 0.25, 0.125]


def test_one_generic_net_serves_every_test_iter():
    d = read("test_iter: 10 test_iter: 20 test_interval: 5")
    assert [(t.field, t.path, t.iterations) for t in d.tests] == [("net", "a.prototxt", 10), ("net", "a.prototxt", 20)]


def test_the_nets_own_test_nets_come_before_the_generic_one():
    d = read(
        'test_net: "b" test_net: "c" test_net_param { name: "d" } test_iter: 1 test_iter: 2 test_iter: 3 test_iter: 4 '
        "test_interval: 5 test_state { } test_state { level: 1 } test_state { level: 2 } test_state { level: 3 }"
    )
    assert [(t.field, t.path, t.iterations, t.state.level) for t in d.tests] == [
        ("test_net_param[0]", None, 1, 0),
        ("test_net[0]", "b", 2, 1),
        ("test_net[1]", "c", 3, 2),
        ("net", "a.prototxt", 4, 3),
    ]


def test_sources_are_described_as_in_caffes_log():
    d = read(
        'train_net: "x" test_net: "b" test_net_param { } test_iter: 1 test_iter: 1 test_interval: 1',
        'lr_policy: "fixed"',
    )
    assert d.train.described == "train_net file: x"
    assert [t.described for t in d.tests] == ["test_net_param.", "test_net file: b"]


@pytest.mark.parametrize(
    "more, words",
    [
        ('train_net: "b"', "exactly one of net, net_param, train_net, train_net_param. Received: net and train_net"),
        ("test_interval: 3 test_iter: -1", "test_iter must be at least 0. Received: -1"),
        ("test_iter: 3", "must be positive where there are test nets. Received: 0"),
        ('test_net: "b" test_interval: 1', "one test_iter for each test net. Received: 0 for 1"),
        ("test_iter: 1 test_interval: 1 test_state { } test_state { }", "one for each test net. Received: 2 for 1"),
        ('type: "Adamm"', "type must be one of SGD, Nesterov, AdaGrad, RMSProp, AdaDelta, Adam. Received: 'Adamm'"),
        ('regularization_type: "L3"', "regularization_type must be one of L2, L1. Received: 'L3'"),
        ("iter_size: 0", "iter_size must be at least 1. Received: 0"),
        ("average_loss: 0", "average_loss must be at least 1. Received: 0"),
        ("max_iter: -1", "max_iter must be at least 0. Received: -1"),
        ("base_lr: nan", "base_lr must be a finite number. Received: nan"),
        ('type: "AdaGrad" momentum: 0.5', "momentum cannot be used with AdaGrad. Received: 0.5"),
        ('type: "RMSProp" momentum: 0.5', "momentum cannot be used with RMSProp. Received: 0.5"),
        ('type: "RMSProp" rms_decay: 1', "rms_decay of RMSProp must be at least 0 and below 1. Received: 1"),
        ('type: "Adam" momentum: 1', "momentum of Adam must be at least 0 and below 1. Received: 1"),
        ("test_offset: 1", "field 'test_offset' of SolverParameter is not Caffe's but of its fork"),
        ('eval_type: "segmentation"', "eval_type must be one of classification, detection. Received: 'segmentation'"),
        ("rampup_lr: 0.1", "field 'rampup_lr' of SolverParameter is not Caffe's but of its fork nvidia: not supported"),
        ("solver_type: SAG", "value SAG of SolverParameter.solver_type is not Caffe's but of its fork nvidia"),
    ],
)
def test_what_caffe_refuses_is_refused(more, words):
    assert words in str(refused(more))


@pytest.mark.parametrize(
    "fields, words",
    [
        (
            "",
            "lr_policy must be one of fixed, step, exp, inv, multistep, poly, sigmoid, multifixed, plateau. Received: nothing",
        ),
        ('lr_policy: "fix"', "Received: 'fix'"),
        ('lr_policy: "step" gamma: 0.1', "stepsize of the step policy must be positive. Received: 0"),
        (
            'lr_policy: "sigmoid" gamma: 0.1 stepsize: -1',
            "stepsize of the sigmoid policy must be positive. Received: -1",
        ),
        ('lr_policy: "exp" gamma: -0.5', "gamma of the exp policy must not be negative. Received: -0.5"),
        ('lr_policy: "poly" power: 1', "max_iter of the poly policy must be positive. Received: 0"),
    ],
)
def test_policies_are_checked(fields, words):
    assert words in str(refused(fields, 'net: "a.prototxt"\n'))


def test_the_place_and_the_closest_name_are_shown():
    error = refused('type: "Adamm"\n')
    assert (error.file, error.line) == ("solver.prototxt", 3)
    assert "did you mean 'Adam'?" in str(error)


def test_all_problems_are_told_at_once():
    with pytest.raises(Problems) as caught:
        read('iter_size: 0\nmax_iter: -1\ntype: "x"\n')
    assert [problem.line for problem in caught.value.problems] == [3, 4, 5]


def test_overrides_take_values_and_words():
    d = read(
        "base_lr: 1 test_interval: 1",
        base_lr="0.5",
        max_iter=7,
        test_iter="2,3",
        type="Adam",
        test_initialization=False,
    )
    assert (d.base_lr, d.max_iter, d.type, d.test_initialization) == (0.5, 7, "Adam", False)
    assert [t.iterations for t in d.tests] == [2, 3]
    assert read(solver_mode="GPU").gpu == 0


def test_an_override_shows_no_line_of_the_file():
    with pytest.raises(SolverError) as caught:
        read("iter_size: 2", iter_size=0)
    assert (caught.value.file, caught.value.line) == ("solver.prototxt", None)


@pytest.mark.parametrize(
    "overrides, words",
    [
        ({"base_lrr": 1}, "no field 'base_lrr'\n  did you mean 'base_lr'?"),
        ({"base_lr": "fast"}, "'base_lr' takes a number. Received: 'fast'"),
        ({"max_iter": 1.5}, "Received: 1.5"),
        ({"net_param": "x"}, "'net_param' holds a message"),
        ({"type": 3}, "'type' takes a string in quotes. Received: 3"),
    ],
)
def test_an_override_that_cannot_be_is_refused(overrides, words):
    with pytest.raises(SolverError) as caught:
        read(**overrides)
    assert words in str(caught.value)


def test_policies_of_forks_are_understood():
    d = read('lr_policy: "multifixed" stagelr: 0.1 stagelr: 0.01 stageiter: 5 stageiter: 9', 'net: "a.prototxt"\n')
    assert [d.policy().rate(i) for i in (5, 6, 20)] == pytest.approx([0.1, 0.01, 0.01])
    d = read('lr_policy: "plateau" base_lr: 1 gamma: 0.5 plateau_winsize: 2', 'net: "a.prototxt"\n')
    assert d.policy().rate(1) == 1.0 and d.plateau_winsize == (2,)


@pytest.mark.parametrize(
    "fields, message",
    [
        (
            'lr_policy: "multifixed" stagelr: 0.1',
            "one stageiter for each stagelr, and at least one. Received: 1 stagelr, 0 stageiter",
        ),
        ('lr_policy: "plateau" gamma: 0.5', "needs at least one plateau_winsize. Received: none"),
        (
            'lr_policy: "plateau" gamma: -1 plateau_winsize: 3',
            "gamma of the plateau policy must not be negative. Received: -1",
        ),
    ],
)
def test_policies_of_forks_are_checked(fields, message):
    assert message in str(refused(fields, 'net: "a.prototxt"\n'))


def test_a_parameter_that_a_policy_lacks_is_told_at_the_policy():
    error = refused("", 'net: "a.prototxt"\nbase_lr: 1\nlr_policy: "step"\ngamma: 0.1\n')
    assert error.line == 3
    assert error.message == "stepsize of the step policy must be positive. Received: 0"
