"""A run in words: what runs where and since when, and what each waiting node waits for.

It is written for whoever asks why a run does not come to its end: what has gone on for longest comes first,
then what is nearest to running, and long lists are cut. The run may be going on in another thread, or be amid
any step. So this only looks; what changes under its eyes it looks at again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from heapq import nsmallest
from itertools import islice
from typing import TYPE_CHECKING, Any

from asyncgraph._graph.node import Node, Site, key_of, site_of
from asyncgraph._graph.scheduler import FINISHED, READY, RELEASED, RUNNING, STATES, WAITING, Scheduler
from asyncgraph._runtime.dispatch import Dispatch
from asyncgraph._runtime.execution import Execution
from asyncgraph._runtime.lanes import COROUTINE, INLINE, PROCESS, THREAD
from asyncgraph._runtime.resources import Holding
from asyncgraph._runtime.sightings import Sighting, handed_over
from asyncgraph._runtime.stacks import Stacks, place_of

if TYPE_CHECKING:
    from asyncgraph._runtime.run import Statistics

__all__ = ["description_of", "seen"]

# So many nodes of a list are shown, or groups of running ones; so many in each of these; and so many of those
# that one waits for.
_MOST = 10
_MOST_ALIKE = 5
_MOST_NEEDED = 5

# Of so many running nodes it is found out which line they are at: 10 ms.
_MOST_LOCATED = 1000

# So many edges of a node are followed, and so many nodes are compared, to find what is shown.
_MANY = 10_000

# How often it is looked again.
_TRIES = 3

# Where a node is, its attempt, and the lines that it is at and was built at.
_About = tuple[str, int, Site | None, Site | None]

# What the loop is in while it makes an inline call.
_INLINE_CALL = Dispatch._outcome_inline.__code__

_PLACES = {COROUTINE: "a coroutine slot", THREAD: "a thread", PROCESS: "a worker process"}


def seen(look: Callable[[], Sequence[str]]) -> Sequence[str]:
    """The lines that `look` gives; a line that says so if it fails again and again."""
    failure: Exception | None = None
    for _ in range(_TRIES):
        try:
            return look()
        except Exception as error:
            failure = error
    return [f"  (this changes too fast to be looked at: {failure!r})"]


def description_of(
    requested: Sequence[Node[Any]], state: str, statistics: Callable[[], Statistics], execution: Execution
) -> str:
    """The lines about a run, the first of which is about the whole of it.

    Args:
        requested: The nodes that were asked for, if they are still known.
        state: Whether the run goes on.
        statistics: Says how far it is.
        execution: Its execution.
    """
    lines = [
        *seen(lambda: [_title(requested, state, statistics(), execution)]),
        *seen(lambda: _Look(execution).sections()),
    ]
    return "".join(f"{line}\n" for line in lines)


def _title(requested: Sequence[Node[Any]], state: str, statistics: Statistics, execution: Execution) -> str:
    name = f"Run of {_listed(map(key_of, requested[:1]), len(requested))}" if requested else "Run"
    within = " inside a node of another run" if execution.is_nested and not execution.is_over else ""
    counts = [
        f"{count} {kind.replace('_', ' ')}"
        for kind in ("running", "ready", "waiting", "finished", "failed", "not_run", "cancelled")
        if (count := getattr(statistics, kind))
    ]
    nodes = f"{statistics.nodes} node{'' if statistics.nodes == 1 else 's'}"
    return f"{name}{within}: {state} {_seconds(statistics.seconds)}; {nodes}: {', '.join(counts)}"


class _Look:
    """One look at an execution."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        if execution.is_over:
            return
        self._lanes = execution.lanes
        self._sightings = {each.task: each for each in execution.overview.sightings()}
        self._paused: dict[int, float] = {}
        self._running: list[int] = []
        self._scheduler: Scheduler | None = None
        self._nodes = execution.nodes
        if execution.is_scheduled:
            self._scheduler = execution.scheduler
            self._paused = execution.overview.paused()
            self._running = self._known(_all_in(RUNNING, self._scheduler.state))

    def sections(self) -> list[str]:
        """What there is to say of the nodes that are not over."""
        if self._execution.is_over:
            return []
        sightings = list(self._sightings.values())
        if self._scheduler is not None:
            sightings = [self._sightings.get(task) or self._unseen(task) for task in self._running]
        begun = [each for each in sightings if each.has_begun]
        return [
            *self._running_section(begun),
            *self._section("handed over", [each for each in sightings if not each.has_begun], self._handed),
            *self._section(
                "between attempts", sorted(self._paused, key=self._paused.__getitem__), self._pause
            ),
            *self._section("open", self._execution.overview.holdings(), _holding),
            *self._rest(),
        ]

    def _rest(self) -> list[str]:
        """What has not been begun."""
        if self._scheduler is not None:
            return [*self._ready_section(self._scheduler), *self._waiting_section(self._scheduler)]
        if self._execution.is_stopping:
            return []
        if self._execution.is_preparing:
            return ["  the rest is being planned"]
        return self._following_section()

    def _known(self, tasks: Iterable[int]) -> list[int]:
        """Those of these tasks that have been added whole."""
        return [task for task in tasks if task < len(self._nodes)]

    def _section(self, title: str, items: Collection[Any], line: Callable[[Any], str]) -> list[str]:
        lines = [f"    {line(each)}" for each in islice(items, _MOST)]
        return _with_title(title, lines, len(items) - len(lines))

    # -- what has been begun

    def _unseen(self, task: int) -> Sighting:
        """A task that nobody has seen: the loop is in its call, or about to say what came of it."""
        node, lanes = self._nodes[task], self._lanes
        if self._scheduler is None or self._scheduler.lanes[task] != INLINE:
            return handed_over(task, node, "about to begin, or just done")
        return Sighting(
            task,
            node,
            "on the loop, running",
            locate=lambda stacks: place_of(stacks.inside_of(lanes.thread, _INLINE_CALL)),
        )

    def _running_section(self, begun: list[Sighting]) -> list[str]:
        """What has gone on for longest comes first, and with it what is at the same line."""
        begun.sort(key=lambda each: -1.0 if each.seconds is None else each.seconds, reverse=True)
        stacks = Stacks() if begun else None
        groups: dict[_About, list[Sighting]] = {}
        for each in begun[:_MOST_LOCATED]:
            at = None if stacks is None else each.locate(stacks)
            about = each.where, self._attempt(each.task), at, site_of(each.node)
            groups.setdefault(about, []).append(each)
        shown = list(islice(groups.items(), _MOST))
        lines = [line for about, group in shown for line in _running_lines(group, *about)]
        return _with_title("running", lines, len(begun) - sum(len(group) for _, group in shown))

    def _attempt(self, task: int) -> int:
        return 1 + len(self._execution.overview.failed_attempts(task))

    @staticmethod
    def _handed(sighting: Sighting) -> str:
        return f"{key_of(sighting.node)}: {sighting.where}"

    def _pause(self, task: int) -> str:
        node, failed = self._nodes[task], self._execution.overview.failed_attempts(task)
        retry = node._function.retry
        of = "" if retry is None else f" of {retry.attempts}"
        after = f", after {failed[-1]}" if failed else ""
        return f"{key_of(node)}: attempt {1 + len(failed)}{of} in {_seconds(self._paused[task])}{after}"

    # -- what has not, in the scheduler

    def _ready_section(self, scheduler: Scheduler) -> list[str]:
        lanes = [lane for lane in (*self._lanes.with_slots, INLINE) if scheduler.is_ready(lane)]
        return self._section("ready", lanes, lambda lane: self._ready_line(scheduler, lane))

    def _ready_line(self, scheduler: Scheduler, lane: int) -> str:
        keys = (key_of(self._nodes[task]) for task in self._known(_first_ready(scheduler, lane)))
        names = _listed(keys, scheduler.ready_count(lane))
        if lane == INLINE:
            return f"{names}: for the loop"
        held = ""
        if not scheduler.backlog(lane) and self._execution.holds_producers(lane):
            held = "; held back while what they feed waits for slots"
        place = _PLACES.get(lane) or f"executor {self._lanes.name_of(lane)!r}"
        return f"{names}: for {place}, {self._slots(lane)}{held}"

    def _slots(self, lane: int) -> str:
        slots, own = self._lanes[lane].slots, self._execution.held(lane)
        others = f", {slots.used - own} by others" if slots.used > own else ""
        return f"{slots.used} of {slots.capacity} slots in use{others}"

    def _waiting_section(self, scheduler: Scheduler) -> list[str]:
        count = scheduler.state.count(WAITING) - len(self._paused)
        begun = [*self._running, *self._paused]
        for lane in scheduler.ready:
            begun += self._known(_first_ready(scheduler, lane))
        tasks = _nearest(scheduler, begun, self._paused, len(self._nodes))
        lines = [f"    {self._waiting_line(scheduler, task)}" for task in tasks]
        return _with_title("waiting", lines, count - len(lines))

    def _waiting_line(self, scheduler: Scheduler, task: int) -> str:
        if scheduler.sleeps(task):
            return f"{key_of(self._nodes[task])}: for a node that needs nothing else"
        needed = dict.fromkeys(islice(scheduler.dependencies[task], _MANY))
        missing = [each for each in self._known(needed) if scheduler.state[each] not in (FINISHED, RELEASED)]
        missing.sort(key=self._distance)
        shown = (f"{key_of(self._nodes[each])} ({self._state(scheduler, each)})" for each in missing)
        returned = "what it has returned, " if scheduler.is_alias(task) else ""
        names = _listed(islice(shown, _MOST_NEEDED), len(missing)) or "what is being added"
        return f"{key_of(self._nodes[task])}: for {returned}{names}"

    def _distance(self, task: int) -> int:
        """How far from its end a task is: what runs comes first."""
        assert self._scheduler is not None
        order = (RUNNING, READY, WAITING)
        state = self._scheduler.state[task]
        return order.index(state) if state in order else len(order)

    def _state(self, scheduler: Scheduler, task: int) -> str:
        if scheduler.sleeps(task):
            return "not needed yet"
        return "between attempts" if task in self._paused else STATES[scheduler.state[task]]

    # -- what has not, on the straight way

    def _following_section(self) -> list[str]:
        following = self._execution.overview.following(_MOST)
        count = self._execution.counts()[WAITING]
        lines = [f"    {_following_line(node, needed)}" for node, needed in following]
        return _with_title("waiting", lines, count - len(lines))


def _running_lines(
    group: Sequence[Sighting], where: str, attempt: int, at: Site | None, built: Site | None
) -> list[str]:
    """Nodes that are alike but for their age, the oldest first."""
    keys = _listed((key_of(each.node) for each in group[:_MOST_ALIKE]), len(group))
    number = f", attempt {attempt}" if attempt > 1 else ""
    places = ("at", at), ("built at", built)
    return [
        f"    {keys}: {where}{_since(group)}{number}",
        *(f"      {word} {_place(place)}" for word, place in places if place is not None),
    ]


def _since(group: Sequence[Sighting]) -> str:
    first, last = group[0].seconds, group[-1].seconds
    if first is None or last is None:
        return ""
    lower, upper = _seconds(last), _seconds(first)
    return f" for {upper}" if lower == upper else f" for {lower.removesuffix(' s')} to {upper}"


def _following_line(node: Node[Any], needed: Sequence[Node[Any]]) -> str:
    names = _listed(map(key_of, needed[:_MOST_NEEDED]), len(needed))
    return f"{key_of(node)}: for {names or 'its turn'}"


def _holding(holding: Holding) -> str:
    state = "being closed" if holding.is_closing else f"open for {_seconds(holding.seconds)}"
    users = _listed(map(key_of, holding.users[:_MOST_NEEDED]), len(holding.users))
    return f"{key_of(holding.node)}: {state}{users and ', used by '}{users}"


def _all_in(wanted: int, state: Sequence[int]) -> list[int]:
    """The tasks in this state; a million of them are looked through in some 10 ms."""
    tasks: list[int] = []
    for _ in range(state.count(wanted)):
        try:
            tasks.append(state.index(wanted, tasks[-1] + 1 if tasks else 0))
        except ValueError:  # fewer than there were
            break
    return tasks


def _first_ready(scheduler: Scheduler, lane: int) -> list[int]:
    """The ready tasks of a lane that go first."""
    ranks = [*nsmallest(_MOST, scheduler.ready[lane]), *islice(scheduler.producers[lane], _MOST)]
    return [scheduler.task_at(rank) for rank in nsmallest(_MOST, ranks)]


def _nearest(scheduler: Scheduler, begun: Iterable[int], paused: Collection[int], count: int) -> list[int]:
    """The waiting tasks that are nearest to running: fewest steps behind what has begun or can begin.

    Of those that are as near, the one comes first that waits for least, and then that which goes first.

    Args:
        scheduler: The state.
        begun: The tasks that have begun or can begin.
        paused: Tasks that are told of elsewhere.
        count: How many tasks have been added whole.
    """
    level, known, found = list(begun), set(begun) | set(paused), list[int]()
    while level and len(found) < _MOST:
        following: list[int] = []
        for task in level:
            for dependent in islice(scheduler.dependents[task], _MANY):
                if dependent < count and dependent not in known and scheduler.state[dependent] == WAITING:
                    known.add(dependent)
                    following.append(dependent)
            if len(following) > _MANY:
                break
        following.sort(key=lambda task: (scheduler.missing(task), scheduler.rank(task)))
        found += following
        level = following
    return found[:_MOST]


# -- words


def _with_title(title: str, lines: Sequence[str], more: int) -> list[str]:
    if not lines:
        return []
    return [f"  {title}:", *lines, *([f"    ... and {more} more"] if more > 0 else [])]


def _listed(names: Iterable[str], count: int) -> str:
    """The names, which are the first of so many."""
    shown = list(names)
    more = count - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _place(site: Site) -> str:
    return f"{site.file}:{site.line}, in {site.function}"


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s"
