"""The scheduler's promises one by one; `test_scheduler_fuzz.py` looks for what nobody thought of."""

from __future__ import annotations

import itertools
import math

import pytest

from asyncgraph._graph import scheduler as states
from asyncgraph._graph.plan import Plan, dependents_of
from asyncgraph._graph.scheduler import STATES, Scheduler
from asyncgraph.errors import CycleError
from tests.graph.model import Pair
from tests.graph.nodes import chain, node, tree


def scheduler_of(*dependencies, outputs=None, lanes=None, **options):
    """Return a scheduler; by default the last task is the output, and all are in lane 0."""
    count = len(dependencies)
    outputs = [count - 1] if outputs is None else outputs
    dependents = dependents_of(list(dependencies))
    return Scheduler(dependencies, dependents, lanes or [0] * count, outputs, **options)


def planned(*outputs):
    """Return a scheduler for the plan of some nodes."""
    plan = Plan(outputs)
    return Scheduler(plan.dependencies, plan.dependents, [0] * len(plan.nodes), plan.outputs)


def begin(scheduler, lane=0):
    """Take a task, and what it needs."""
    task = scheduler.take(lane)
    scheduler.consume(task)
    return task


def run(scheduler):
    """Run everything on one worker; return the order, and the most results that were alive at once."""
    order, most = [], 0
    while (task := scheduler.take(0)) is not None:
        scheduler.consume(task)
        order.append(task)
        scheduler.finish(task, f"result {task}")
        most = max(most, sum(result is not None for result in scheduler.results))
    scheduler.validate()
    return order, most


def states_of(scheduler):
    """Return the states by name."""
    return [STATES[state] for state in scheduler.state]


def test_the_lowest_ready_number_of_a_lane_goes_first():
    """Whatever became ready when: the lowest number is taken first."""
    scheduler = scheduler_of((), (), (1,), (0,), (2, 3))
    assert [begin(scheduler), begin(scheduler)] == [0, 1]
    scheduler.finish(0, "a")
    scheduler.finish(1, "b")
    assert [begin(scheduler), begin(scheduler)] == [2, 3]


def test_what_needs_nothing_keeps_its_place_in_the_order():
    """A producer and a task that holds results are taken by number, neither kind before the other."""
    scheduler = scheduler_of((), (0,), (), (2,), (1, 3))
    assert run(scheduler) == ([0, 1, 2, 3, 4], 2)


def test_each_lane_is_a_queue_of_its_own():
    """A lane gives its own tasks alone, and None once it has no more."""
    scheduler = scheduler_of((), (), (), (0, 1, 2), lanes=[0, 1, 0, 1])
    assert [scheduler.take(1), scheduler.take(1)] == [1, None]
    assert [scheduler.take(0), scheduler.take(0), scheduler.take(0)] == [0, 2, None]
    assert scheduler.take(5) is None


def test_producers_can_be_held_back():
    """With producers on hold only tasks are taken that hold results, and `backlog` counts those."""
    scheduler = scheduler_of((), (), (0,), (1, 2))
    scheduler.finish(begin(scheduler), "a")
    assert (scheduler.backlog(0), scheduler.is_ready(0)) == (1, True)
    assert scheduler.take(0, hold_producers=True) == 2
    assert scheduler.take(0, hold_producers=True) is None
    assert (scheduler.backlog(0), scheduler.is_ready(0)) == (0, True)
    assert scheduler.take(0) == 1
    assert not scheduler.is_ready(0)


def test_a_task_can_be_taken_ahead():
    """It is running, not ready, as soon as the last of what it waits for has finished."""
    scheduler = scheduler_of((), (0,), (1,))
    scheduler.take(0)
    scheduler.take_ahead(1)
    scheduler.take_ahead(2)
    scheduler.validate()
    assert states_of(scheduler) == ["running", "waiting", "waiting"]
    scheduler.consume(0)
    scheduler.finish(0, "a")
    scheduler.validate()
    assert (states_of(scheduler), scheduler.is_ready(0)) == (["finished", "running", "waiting"], False)


def test_what_was_taken_can_be_given_back():
    """With all that was taken ahead behind it; each has its place in the order then as before."""
    scheduler = scheduler_of((), (), (), (0, 1), (3, 2))
    assert [scheduler.take(0) for _ in range(3)] == [0, 1, 2]
    scheduler.take_ahead(3)
    scheduler.take_ahead(4)
    assert scheduler.untake(2) == [2, 4]
    assert scheduler.untake(0) == [0, 3]
    assert scheduler.untake(1) == [1]
    scheduler.validate()
    assert states_of(scheduler) == ["ready"] * 3 + ["waiting"] * 2
    assert run(scheduler)[0] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("order", [*itertools.permutations(range(3))])
def test_producers_that_are_given_back_keep_their_places(order):
    """Whichever comes back first, the lowest number is taken first again."""
    scheduler = scheduler_of((), (), (), (0, 1, 2))
    for _ in range(3):
        scheduler.take(0)
    for task in order:
        scheduler.untake(task)
    scheduler.validate()
    assert [scheduler.take(0) for _ in range(3)] == [0, 1, 2]


def test_a_result_is_dropped_when_its_last_dependent_has_taken_it():
    """Not before, though a dependent takes it twice, and not only when that dependent ends."""
    scheduler = scheduler_of((), (0, 0), (0,), (1, 2))
    scheduler.finish(begin(scheduler), "precious")
    scheduler.consume(scheduler.take(0))
    assert scheduler.results[0] == "precious"
    scheduler.consume(scheduler.take(0))
    assert scheduler.results[0] is None
    assert states_of(scheduler) == ["released", "running", "running", "waiting"]


def test_an_output_keeps_its_result_until_it_is_given_up():
    """A node that was asked for keeps its result, though all its dependents have had it."""
    scheduler = scheduler_of((), (0,), outputs=[0, 1])
    run(scheduler)
    assert scheduler.results == ["result 0", "result 1"]
    scheduler.give_up(0)
    assert scheduler.results == [None, "result 1"]
    scheduler.validate()


def test_an_output_given_up_is_kept_for_its_dependents():
    """Handing an output over takes nothing from whoever still waits for it."""
    scheduler = scheduler_of((), (0,), outputs=[0, 1])
    scheduler.finish(begin(scheduler), "a")
    scheduler.give_up(0)
    assert scheduler.results[0] == "a"
    begin(scheduler)
    assert scheduler.results[0] is None


@pytest.mark.parametrize("leaves", [2, 3, 8, 100, 1024])
def test_a_tree_keeps_few_results_alive(leaves):
    """Depth first: of a pairwise tree on one worker, one result a level is alive, and the newest."""
    _, most = run(planned(tree(leaves)[0]))
    assert most <= math.ceil(math.log2(leaves)) + 1


def test_many_chains_are_run_one_after_the_other():
    """Of many downloads that are each parsed and stored, one is alive at a time, beside what is collected."""
    stored = [node("store", node("parse", node("download", number))) for number in range(50)]
    order, most = run(planned(node("count", *stored)))
    assert order == list(range(151))
    assert most == 50


def test_a_failure_takes_everything_behind_it():
    """What waits for a failure is not run, knows it, and needs no results any more; the rest goes on."""
    scheduler = scheduler_of((), (), (0, 1), (2,), (1,), outputs=[3, 4])
    scheduler.finish(begin(scheduler), "a")
    assert scheduler.results[0] == "a"
    assert scheduler.fail(begin(scheduler)) == [2, 4, 3]
    assert states_of(scheduler) == ["released", "failed", "not run", "not run", "not run"]
    assert scheduler.behind == {1: 1, 2: 1, 3: 1, 4: 1}
    assert scheduler.remaining == 0
    scheduler.validate()


def test_the_first_failure_is_the_reason():
    """A task behind two failures keeps the first as its reason, and is over once."""
    scheduler = scheduler_of((), (), (0, 1))
    begin(scheduler), begin(scheduler)
    assert scheduler.fail(1) == [2]
    assert scheduler.fail(0) == []
    assert scheduler.behind[2] == 1
    scheduler.validate()


def test_cancelling_spares_what_is_running():
    """Nothing more is begun; what is running may still finish, and is then kept if it was asked for."""
    scheduler = scheduler_of((), (), (0,), (1, 2), outputs=[0, 3])
    assert [begin(scheduler), scheduler.take(0)] == [0, 1]
    scheduler.consume(1)
    scheduler.cancel()
    assert states_of(scheduler) == ["running", "running", "cancelled", "cancelled"]
    assert scheduler.take(0) is None
    scheduler.finish(0, "kept")
    scheduler.stop(1)
    assert states_of(scheduler) == ["finished", "cancelled", "cancelled", "cancelled"]
    assert (scheduler.results[0], scheduler.remaining) == ("kept", 0)
    scheduler.validate()


def test_a_task_takes_the_result_of_the_node_that_it_returned():
    """After `expand` the task waits for the root of the new tasks, and finishes with its result."""
    scheduler = scheduler_of((), (0,))
    assert scheduler.expand(begin(scheduler), [(), (2,)], [0, 0], 3) == []
    assert states_of(scheduler) == ["waiting", "waiting", "ready", "waiting"]
    scheduler.finish(begin(scheduler), "inner")
    assert begin(scheduler) == 3
    assert scheduler.finish(3, "outer") == [3, 0]
    assert scheduler.results == ["outer", None, None, None]
    assert (scheduler.final(0), scheduler.final(1)) == (3, 1)
    scheduler.validate()


def test_what_was_added_last_goes_first():
    """Recursion runs depth first too: new tasks go before all others, the latest first."""
    scheduler = scheduler_of((), (), (), (0, 1, 2))
    scheduler.expand(begin(scheduler), [(), (), (4, 5)], [0, 0, 0], 6)
    assert begin(scheduler) == 4
    scheduler.expand(4, [()], [0], 7)
    assert [scheduler.take(0) for _ in range(4)] == [7, 5, 1, 2]


def test_a_new_lane_may_come_with_new_tasks():
    """Tasks that are added may be in a lane in which there was none before."""
    scheduler = scheduler_of(())
    assert not scheduler.is_ready(9)
    scheduler.expand(begin(scheduler), [(), (1,)], [8, 9], 2)
    scheduler.finish(begin(scheduler, 8), "a")
    assert scheduler.take(9) == 2


def test_a_task_may_return_a_finished_node():
    """The task is finished at once, and so is what had returned it."""
    scheduler = scheduler_of((), (), (0, 1), outputs=[0, 2])
    scheduler.finish(begin(scheduler), "here")
    assert scheduler.expand(begin(scheduler), [], [], 0) == [1]
    assert scheduler.results[1] == "here"
    assert begin(scheduler) == 2
    scheduler.validate()


def test_a_task_may_return_a_failed_node():
    """The task fails at once behind the same failure, and everything that waits for it is not run."""
    scheduler = scheduler_of((), (), (1,), (0, 2), outputs=[0, 3])
    scheduler.fail(begin(scheduler))
    assert scheduler.expand(begin(scheduler), [(0,)], [0], 4) == [4, 1, 2]
    assert states_of(scheduler) == ["failed", *["not run"] * 4]
    assert scheduler.behind == dict.fromkeys(range(5), 0)
    assert scheduler.remaining == 0
    scheduler.validate()


def test_two_tasks_may_return_the_same_node():
    """Both wait for it, and both finish with its result."""
    scheduler = scheduler_of((), (), (0, 1))
    begin(scheduler), begin(scheduler)
    scheduler.expand(0, [()], [0], 3)
    scheduler.expand(1, [], [], 3)
    assert scheduler.finish(begin(scheduler), "shared") == [3, 0, 1]
    assert scheduler.results[:2] == ["shared", "shared"]


@pytest.mark.parametrize(
    ("task", "new", "root"),
    [(1, [], 1), (1, [], 2), (1, [], 3), (1, [(3,)], 4), (1, [(0,), (2, 0)], 5)],
    ids=["itself", "dependent", "far dependent", "around it", "among others"],
)
def test_a_node_that_depends_on_the_task_that_returned_it_is_refused(task, new, root):
    """Such a circle is a CycleError, and nothing has changed."""
    scheduler = scheduler_of((), (), (1,), (2,), outputs=[0, 3])
    scheduler.finish(begin(scheduler), "a")
    assert begin(scheduler) == task
    with pytest.raises(CycleError, match="the node that it returned depends on it"):
        scheduler.expand(task, new, [0] * len(new), root)
    assert states_of(scheduler) == ["finished", "running", "waiting", "waiting"]
    scheduler.validate()
    scheduler.finish(task, "b")
    assert begin(scheduler) == 2


def test_a_circle_of_two_returned_nodes_is_refused():
    """Where one task waits for another, that one cannot return a node that waits for the first."""
    scheduler = scheduler_of((), (), (0, 1))
    begin(scheduler), begin(scheduler)
    scheduler.expand(0, [(1,)], [0], 3)
    with pytest.raises(CycleError):
        scheduler.expand(1, [], [], 0)


def test_expanding_leaves_the_plan_alone():
    """The lists that the scheduler was given may be shared with other runs: they stay as they are."""
    dependencies, lanes = [(), (0,)], [0, 0]
    dependents = dependents_of(dependencies)
    scheduler = Scheduler(dependencies, dependents, lanes, [1])
    scheduler.expand(begin(scheduler), [(), (2,)], [0, 0], 3)
    assert (dependencies, dependents, lanes) == ([(), (0,)], [[1], []], [0, 0])


def test_a_long_chain_needs_no_recursion():
    """100 000 tasks in a row run, fail and are cancelled."""
    last = chain(100_000)
    running = planned(last)
    for task in range(100_000):
        assert begin(running) == task
        running.finish(task, task)
    assert (running.remaining, running.results[-2:]) == (0, [None, 99_999])
    failing = planned(last)
    assert failing.fail(begin(failing)) == list(range(1, 100_000))
    cancelled = planned(last)
    cancelled.cancel()
    assert cancelled.remaining == 0


def test_a_long_chain_of_returned_nodes_needs_no_recursion():
    """20 000 tasks of which each returns the next finish together, in order."""
    scheduler = scheduler_of(())
    for count in range(1, 20_001):
        scheduler.expand(begin(scheduler), [()], [0], count)
    assert scheduler.final(0) == 20_000
    assert scheduler.finish(begin(scheduler), "deep") == list(range(20_000, -1, -1))
    assert scheduler.results[0] == "deep"
    assert sum(result is not None for result in scheduler.results) == 1
    scheduler.validate()


def test_an_added_task_may_be_another_call():
    """It waits for what that call needs, in its lane, and finishes as it does; nothing else of it is left."""
    scheduler = scheduler_of((), outputs=[0])
    scheduler.expand(begin(scheduler), [()], [0], 1)
    assert (scheduler.is_added(0), scheduler.is_added(1)) == (False, True)
    assert scheduler.renew(begin(scheduler), [()], [0], (2,), 1) == []
    assert states_of(scheduler) == ["waiting", "waiting", "ready"]
    scheduler.finish(begin(scheduler), "needed")
    assert scheduler.take(1) == 1
    scheduler.consume(1)
    assert scheduler.renew(1, [], [], (), 0) == []
    assert scheduler.finish(begin(scheduler), "deep") == [1, 0]
    assert (scheduler.results, scheduler.renewals) == (["deep", None, None], 2)
    scheduler.validate()


def test_what_a_renewed_task_needs_is_dropped_when_the_run_is_cancelled():
    """Whether it was there when the task became another call, or not."""
    scheduler = scheduler_of((), (), (1,), outputs=[0])
    begin(scheduler)
    scheduler.finish(begin(scheduler), "there")
    scheduler.expand(0, [(1,)], [0], 3)
    assert begin(scheduler) == 3
    scheduler.consume(3)
    scheduler.renew(3, [()], [0], (1, 4), 0)
    scheduler.finish(begin(scheduler), "new")
    scheduler.cancel()
    assert states_of(scheduler) == ["cancelled", "released", "cancelled", "cancelled", "released"]
    scheduler.validate()


def test_a_task_that_becomes_a_call_of_what_has_failed_is_not_run():
    """Nor is all that waits for it."""
    scheduler = scheduler_of((), (), (1,), outputs=[0, 2])
    scheduler.expand(begin(scheduler), [()], [0], 3)
    running = begin(scheduler)
    scheduler.fail(begin(scheduler))
    assert scheduler.renew(running, [], [], (1,), 0) == [3, 0]
    assert scheduler.behind == dict.fromkeys(range(4), 1)
    scheduler.validate()


def test_a_lost_result_is_made_again_for_what_has_become_another_call():
    """A call that another has turned into waits for it, though the lost one may not know that any more."""
    scheduler = scheduler_of((), (), (1,), outputs=[0], holds_inputs=True)
    begin(scheduler)
    scheduler.finish(begin(scheduler), "there")
    scheduler.expand(0, [(1,)], [0], 3)
    assert begin(scheduler) == 3
    scheduler.renew(3, [()], [0], (1, 4), 0)
    scheduler.cancel()
    lost = scheduler.needed_again([1])
    assert lost == [1]
    scheduler.forget(lost)
    scheduler.revive()
    assert states_of(scheduler) == ["waiting", "ready", "waiting", "waiting", "ready"]
    scheduler.validate()


def test_a_lost_lazy_task_that_has_returned_a_node_waits_for_that():
    """It does not sleep: it has its result as soon as the node has one."""
    scheduler = scheduler_of((), (0,), outputs=[1], lazy=[0], holds_inputs=True)
    scheduler.expand(begin(scheduler), [()], [0], 2)
    scheduler.finish(begin(scheduler), "there")
    assert begin(scheduler) == 1
    scheduler.fail(1)
    scheduler.forget(scheduler.needed_again([0]))
    scheduler.revive()
    assert not scheduler.sleeps(0)
    assert states_of(scheduler) == ["waiting", "waiting", "ready"]
    scheduler.finish(begin(scheduler), "again")
    assert states_of(scheduler)[:2] == ["finished", "ready"]
    scheduler.validate()


def test_a_withdrawn_result_is_that_of_a_lazy_task():
    """When all is revived, it sleeps until what needs it waits for nothing else."""
    scheduler = scheduler_of((), (), (0, 1), outputs=[2], holds_inputs=True)
    scheduler.finish(begin(scheduler), "opened")
    scheduler.fail(begin(scheduler))
    scheduler.withdraw(0)
    scheduler.revive()
    assert scheduler.sleeps(0)
    assert states_of(scheduler) == ["waiting", "ready", "waiting"]
    scheduler.finish(begin(scheduler), "there")
    assert not scheduler.sleeps(0)
    assert states_of(scheduler) == ["ready", "finished", "waiting"]
    scheduler.validate()


def test_states_may_be_another_list():
    """One that notes changes, say: the scheduler goes on with that."""
    scheduler = scheduler_of((), (0,))

    class Noting(list):
        pass

    scheduler.note_states(Noting)
    scheduler.finish(begin(scheduler), "a")
    assert type(scheduler.state) is Noting
    assert states_of(scheduler) == ["finished", "ready"]


@pytest.mark.parametrize(
    ("attribute", "task", "value", "complaint"),
    [
        ("state", 2, states.READY, "task 2 is ready, but"),
        ("state", 2, states.RUNNING, "task 2 is running, but"),
        ("state", 1, states.RUNNING, "ready tasks and heaps differ"),
        ("state", 0, states.WAITING, "task 0 is waiting, but nothing it needs is missing"),
        ("_missing", 2, 5, "task 2 is waiting: 5 counted as missing"),
        ("results", 2, "early", "task 2 is waiting, but has a result"),
        ("results", 1, "early", "task 1 is ready, but has a result"),
        ("_uses", 0, 0, "task 0 is finished, but nobody needs its result"),
        ("state", 3, states.NOT_RUN, "task 3 is not run, behind 3"),
        ("behind", 3, 1, "task 3 is failed, behind 1"),
    ],
)
def test_validate_names_what_breaks_a_law(attribute, task, value, complaint):
    """A scheduler whose state was tampered with is caught by `validate`, which names the task."""
    scheduler = scheduler_of((), (), (0, 1), (), outputs=[0, 2, 3], lanes=[0, 1, 0, 0])
    scheduler.finish(begin(scheduler), "a")
    scheduler.fail(begin(scheduler))
    assert states_of(scheduler) == ["finished", "ready", "waiting", "failed"]
    scheduler.validate()
    getattr(scheduler, attribute)[task] = value
    with pytest.raises(AssertionError, match=complaint):
        scheduler.validate()


def test_validate_counts_what_remains():
    """So is a wrong count of what is still to be done."""
    scheduler = scheduler_of((), (0,))
    scheduler.remaining = 5
    with pytest.raises(AssertionError, match="5 remain, but 2 are alive"):
        scheduler.validate()


@pytest.mark.parametrize("finished", range(6))
@pytest.mark.parametrize("outputs", [[5], [5, 1], [0, 5]])
def test_a_run_that_is_taken_over_on_the_way(finished, outputs):
    """A scheduler that begins when so many tasks have finished ends as one that has seen them finish."""
    dependencies = [(), (0,), (0, 1), (), (2, 3, 3), (4, 0)]
    dependents = dependents_of(dependencies)
    whole = Scheduler(dependencies, dependents, [0] * 6, outputs)
    for task in range(finished):
        assert begin(whole) == task
        whole.finish(task, f"result {task}")
    results = {task: result for task, result in enumerate(whole.results) if result is not None}
    half = Scheduler(dependencies, dependents, [0] * 6, outputs, finished, results)
    half.validate()
    assert half.state == whole.state
    assert (half.results, half.remaining) == (whole.results, whole.remaining)
    for scheduler in (half, whole):
        for task in range(finished, 6):
            assert begin(scheduler) == task
            scheduler.finish(task, f"result {task}")
            scheduler.validate()
    assert (half.state, half.results) == (whole.state, whole.results)


def test_how_many_are_ready():
    """With and without dependencies, by lane."""
    scheduler = Scheduler([(), (), (0,)], [[2], [], []], [0, 1, 0], [1, 2])
    assert [scheduler.ready_count(lane) for lane in (0, 1, 2)] == [1, 1, 0]


def test_tasks_that_need_nothing_can_be_taken_many_at_a_time():
    """They are taken in order, so many at most, up to the first that is not wanted or is not first."""
    scheduler = scheduler_of((), (), (), (), (0,), ())
    assert scheduler.take_producers(0, 2, lambda task: True) == [0, 1]
    scheduler.finish(0, "a")
    assert scheduler.take_producers(0, 9, lambda task: task != 3) == [2]
    assert scheduler.take_producers(0, 9, lambda task: True) == [3]  # 4 is ready now, and comes before 5
    assert scheduler.take_producers(1, 9, lambda task: True) == []
    assert begin(scheduler) == 4
    assert scheduler.take_producers(0, 9, lambda task: True) == [5]
    scheduler.validate()


def test_many_tasks_can_finish_at_once():
    """The same becomes of them as if one after another had finished."""
    scheduler = scheduler_of((), (), (), (0, 0), outputs=[1, 3])
    assert scheduler.take_producers(0, 3, lambda task: True) == [0, 1, 2]
    scheduler.finish_many([0, 1, 2], ["a", "b", "c"])
    assert states_of(scheduler) == ["finished", "finished", "released", "ready"]
    assert scheduler.results == ["a", "b", None, None]
    assert scheduler.remaining == 1
    scheduler.validate()


def test_who_has_returned_a_node_is_known():
    """A task that has returned a node is an alias of the one that computes it."""
    scheduler = scheduler_of(())
    begin(scheduler)
    assert not scheduler.is_alias(0)
    scheduler.expand(0, [()], [0], 1)
    assert scheduler.is_alias(0)


def test_a_lost_result_is_made_again_with_what_was_dropped():
    """Of what it needs, what is still there is used."""
    pair = Pair([(), (), (0, 1), (1, 2)], [0] * 4, [3], holds_inputs=True)
    for task in (0, 1, 2):
        assert pair.take(0) == task
        pair.consume(task)
        pair.finish(task)
    assert pair.take(0) == 3
    pair.consume(3)
    pair.fail(3)
    pair.lose(2)
    assert [STATES[state] for state in pair.scheduler.state] == [
        "cancelled",
        "finished",
        "cancelled",
        "failed",
    ]
    pair.drain()


def test_a_renewed_task_waits_for_a_lost_result_that_it_needs():
    """It has not been among the dependents of that, which had finished before."""
    pair = Pair([(), ()], [0, 0], [1], holds_inputs=True)
    for task in (0, 1):
        pair.keep(task)
        assert pair.take(0) == task
        pair.consume(task)
        if task == 0:
            pair.finish(task)
    pair.expand(1, [()], [0], 2)
    assert pair.take(0) == 2
    pair.consume(2)
    pair.renew(2, [], [], (0,), 0)
    assert pair.take(0) == 2
    pair.consume(2)
    pair.fail(2)
    pair.lose(0)
    pair.revive()
    assert pair.take(0) == 0
    assert pair.waiting() == {1, 2}
    pair.drain()


def test_what_was_returned_by_a_cancelled_task_counts_when_it_is_revived():
    """The returned task has finished after the cancel: the one that returned it is not called again."""
    scheduler = Scheduler([()], [()], [0], [0], holds_inputs=True)
    assert scheduler.take(0) == 0
    scheduler.expand(0, [()], [0], 1)
    assert scheduler.take(0) == 1
    scheduler.cancel()
    scheduler.finish(1, "a value")
    scheduler.revive()
    scheduler.validate()
    assert (scheduler.remaining, scheduler.results[0]) == (0, "a value")


def test_a_circle_that_a_lost_result_would_close():
    """A call that is made again must not return what has been made of its first result."""
    pair = Pair([(), (0,), (1,)], [0] * 3, [2], holds_inputs=True)
    pair.keep(0)
    for task, happen in ((0, pair.finish), (1, pair.finish), (2, pair.fail)):
        assert pair.take(0) == task
        pair.consume(task)
        happen(task)
    pair.lose(0)
    pair.revive()
    assert pair.take(0) == 0
    pair.consume(0)
    pair.expand(0, [], [], 1)
    assert pair.log[-1] == ("refuse", 0)
    pair.finish(0)
    pair.drain()


def test_what_sleeps_when_all_is_over_sleeps_on():
    """Nothing that has been kept besides makes it run when the rest does."""
    pair = Pair([(), (), (0, 1)], [0] * 3, [2], lazy=[1], holds_inputs=True)
    pair.keep(1)
    pair.cancel()
    pair.let_go(1)
    assert pair.scheduler.sleeps(1)
    pair.revive()
    assert pair.take(0) == 0
    assert pair.take(0) is None
    pair.consume(0)
    pair.finish(0)
    assert pair.take(0) == 1
    pair.drain()


def test_what_nothing_needs_any_more_sleeps_on():
    """It does not run either when what has failed is begun again, be it once or twice."""
    pair = Pair([(), ()], [0] * 2, [0], lazy=[1], holds_inputs=True)
    pair.keep(1)
    for _ in range(2):
        assert pair.take(0) == 0
        pair.consume(0)
        pair.fail(0)
        if pair.kept_besides:
            pair.let_go(1)
        pair.revive()
    assert pair.take(0) == 0
    assert pair.take(0) is None
    assert pair.scheduler.sleeps(1)
    pair.drain()


@pytest.mark.parametrize("is_late", [False, True])
def test_a_withdrawn_task_whose_node_is_there(is_late):
    """It need not be woken to have the result of the node that it has returned, nor when the run was over."""
    pair = Pair([(), (), (0, 1)], [0] * 3, [2], holds_inputs=True)
    assert pair.take(0) == 0
    pair.consume(0)
    pair.expand(0, [()], [0], 3)
    pair.keep(3)
    assert pair.take(0) == 3
    pair.consume(3)
    pair.finish(3)
    assert pair.take(0) == 1
    pair.consume(1)
    pair.fail(1)
    pair.withdraw(0)
    pair.let_go(3)
    pair.revive()
    assert pair.scheduler.sleeps(0)
    assert pair.take(0) == 1
    pair.consume(1)
    pair.finish(1)
    assert pair.take(0) == 3
    pair.consume(3)
    if is_late:
        pair.cancel()
    pair.finish(3)
    pair.drain()
