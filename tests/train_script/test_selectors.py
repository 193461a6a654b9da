"""Conditions on names: for every name the value that it has, in few lines."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proto2torch.train_script.selectors import cases


def chosen(name: str, values: dict[str, str]) -> str:
    """The value that the conditions give a name."""
    return next(case.value for case in cases(values) if not case.condition or eval(case.condition, {"name": name}))


keys = st.lists(
    st.tuples(
        st.sampled_from(["conv", "scale", "bn", "a", "scale_conv"]),
        st.integers(0, 4),
        st.sampled_from(["weight", "bias", "b_c"]),
    ),
    min_size=1,
    max_size=20,
    unique=True,
)


@given(made=keys, data=st.data())
def test_every_name_gets_its_value(made: list[tuple[str, int, str]], data: st.DataObject) -> None:
    values = {f"{layer}{i}.{leaf}": data.draw(st.sampled_from("xyz")) for layer, i, leaf in made}
    assert {name: chosen(name, values) for name in values} == values


def test_what_names_end_in_and_exceptions() -> None:
    values = {f"conv{i}.{leaf}": leaf for i in range(9) for leaf in ("weight", "bias")}
    assert [case.condition for case in cases(values)] == ['name.endswith(".bias")', ""]
    values["conv3.weight"] = "other"
    assert [case.condition for case in cases(values)] == ['name == "conv3.weight"', 'name.endswith(".bias")', ""]


def test_a_word_stands_for_many_names() -> None:
    convolutions = {f"res{i}.{j}.branch.weight": "he" for i in range(4) for j in range(5)}
    scales = {f"res{i}.{j}.scale_branch.weight": "one" for i in range(4) for j in range(3)}
    assert [case.condition for case in cases({**convolutions, **scales})] == ['"scale" in name', ""]
    biases = {f"res{i}.{j}.scale_branch.bias": "zero" for i in range(4) for j in range(3)}
    found = [case.condition for case in cases({**convolutions, **scales, **biases})]
    assert found == ['"scale" in name and name.endswith(".weight")', 'name.endswith(".bias")', ""]


def test_one_value_needs_no_condition() -> None:
    assert [case.condition for case in cases({"a.weight": "x", "b.bias": "x"})] == [""]
