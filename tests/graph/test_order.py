"""The order of the tasks: always one that can be run, never a worse one, and for trees the best."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncgraph import delayed
from asyncgraph._graph import order as module
from asyncgraph._graph.order import may_gain, order, order_of_tree
from asyncgraph._graph.pieces import whole
from asyncgraph._graph.plan import Plan, dependents_of


def peak(dependencies, tasks, outputs):
    """The most results alive at once; fails where a task comes before what it needs."""
    uses = [len(each) for each in dependents_of(dependencies)]
    for output in outputs:
        uses[output] += 1
    done, alive, most = set(), 0, 0
    for task in tasks:
        assert done.issuperset(dependencies[task])
        done.add(task)
        alive += 1
        most = max(most, alive)
        for each in dependencies[task]:
            uses[each] -= 1
            alive -= not uses[each]
    assert len(done) == len(dependencies)
    return most


def sinks(dependencies):
    """The tasks that no other needs."""
    return tuple(task for task, each in enumerate(dependents_of(list(dependencies))) if not each)


@st.composite
def graphs(draw):
    """Dependencies in numbers; one may be listed twice."""
    count = draw(st.integers(1, 30))
    return tuple(
        tuple(draw(st.lists(st.integers(0, task - 1), max_size=4))) if task else () for task in range(count)
    )


@st.composite
def trees(draw, most=9):
    """Dependencies of a forest, depth first."""
    count = draw(st.integers(1, most))
    parents = [draw(st.integers(task + 1, count)) for task in range(count)]
    children = [[] for _ in range(count + 1)]
    for task, parent in enumerate(parents):
        children[parent].append(task)
    tasks = []

    def visit(task):
        for each in children[task]:
            visit(each)
        tasks.append(task)

    visit(count)
    number = {task: place for place, task in enumerate(tasks)}
    return tuple(tuple(number[each] for each in children[task]) for task in tasks[:-1])


@given(graphs(), st.data(), st.booleans())
@settings(max_examples=300)
def test_an_order_can_be_run_and_is_better_than_the_one_given(dependencies, data, is_large):
    """Whatever is kept to the end, and whether the graph counts as large or not."""
    more = data.draw(st.sets(st.integers(0, len(dependencies) - 1), max_size=3))
    outputs = sorted({*sinks(dependencies), *more})
    before = peak(dependencies, range(len(dependencies)), outputs)
    with pytest.MonkeyPatch.context() as patch:
        if is_large:
            patch.setattr(module, "_MANY", 0)
        tasks = whole(order(dependencies, dependents_of(list(dependencies)), outputs))
    if tasks is not None:
        assert peak(dependencies, tasks, outputs) < before


@given(trees())
@settings(max_examples=100, deadline=None)
def test_no_order_of_a_tree_is_better(dependencies):
    """All that can be run are tried."""
    outputs = sinks(dependencies)
    ours = peak(dependencies, whole(order_of_tree(dependencies, outputs)), outputs)
    assert ours == least_of_all(dependencies, outputs)


def least_of_all(dependencies, outputs):
    """The lowest peak of any order: the widest path of the narrowest sets of tasks that are done."""
    count = len(dependencies)
    dependents = dependents_of(list(dependencies))
    best = {0: 0}
    for size in range(count):
        for chosen in itertools.combinations(range(count), size):
            done = sum(1 << task for task in chosen)
            if done not in best:
                continue
            kept = set(outputs)
            alive = sum(
                1 for task in chosen if task in kept or any(not done >> each & 1 for each in dependents[task])
            )
            for task in set(range(count)) - set(chosen):
                if all(done >> each & 1 for each in dependencies[task]):
                    after = done | 1 << task
                    best[after] = min(best.get(after, count), max(best[done], alive + 1))
    return best[(1 << count) - 1]


@given(trees(40))
def test_where_a_tree_cannot_gain_much_no_order_is_sought(dependencies):
    """If nothing is to be gained, depth first holds no more than twice what any order must."""
    outputs = sinks(dependencies)
    if not whole(may_gain([len(each) for each in dependencies])):
        widest = max(map(len, dependencies))
        before = peak(dependencies, range(len(dependencies)), outputs)
        assert before <= max(2 * widest, len(outputs) + widest) + 1


def test_a_shape_is_put_in_order_once():
    """The second graph of a shape takes what was found for the first."""
    module._known.cache_clear()
    add = delayed(lambda *numbers: sum(numbers), name="add")

    def build():
        total = add(0)
        for _ in range(20):
            total = add(add(1), total)
        return total

    plans = [Plan([build()]) for _ in range(3)]
    assert module._known.cache_info().hits == 2
    for plan in plans:
        assert peak(plan.dependencies, range(len(plan.nodes)), plan.outputs) == 3


@pytest.mark.parametrize("shared", [False, True])
def test_large_graphs_are_put_in_order_too(monkeypatch, shared):
    """A comb whose leaves come first; and one that is no tree, as far as one draft leads."""
    monkeypatch.setattr("asyncgraph._graph.order._MANY", 10)
    add = delayed(lambda *numbers: sum(numbers), name="add")
    one = add(1)
    total = add(0)
    for _ in range(20):
        total = add(add(one) if shared else add(1), total)
    plan = Plan([total])
    assert peak(plan.dependencies, range(len(plan.nodes)), plan.outputs) <= (22 if shared else 3)


class Counted(list):
    """Edges that know how often one was asked for its own."""

    asked = 0

    def __getitem__(self, task):
        """Count, and answer."""
        self.asked += 1
        return super().__getitem__(task)


@pytest.mark.parametrize(
    "dependencies",
    [[(task - 1,) if task else () for task in range(5_000)], [*[()] * 4_999, tuple(range(4_999))]],
    ids=["chain", "wide"],
)
def test_one_goal_that_needs_all_is_pursued_in_pieces(dependencies):
    """However much has to be done for it: a piece is so many steps, and not so many goals."""
    edges = Counted(dependencies)
    graph = module._Graph(edges, dependents_of(dependencies), sinks(dependencies))
    draft = range(len(dependencies))
    for pieces in (graph.fewest_missing([1] * len(draft), is_patient=True), graph.late(draft)):
        next(pieces)  # the first one looks at each once
        asked = [edges.asked, *(edges.asked for _ in pieces), edges.asked]
        assert max(after - before for before, after in itertools.pairwise(asked)) <= 4 * module._SHORT_PIECE
