"""Where a worker's calls come from.

Frames bring calls, tokens say which of them is to begin (see `frames`). A call whose token has been taken
is the worker's; until then its parent may give it to another.
"""

from __future__ import annotations

import os
import select
import sys
from collections import deque
from typing import Any

from asyncgraph.executors.process.descriptors import receive_descriptors
from asyncgraph.executors.process.frames import BEGUN, read_frame
from asyncgraph.executors.process.outbox import Outbox
from asyncgraph.executors.process.payload import Payload

__all__ = ["NOTHING", "Frame", "Inbox"]

_BYTE_ORDER = sys.byteorder
_number_of = int.from_bytes  # half of what `struct` takes, for each call

NOTHING = object()
"""What `take` gives where nothing is to begin."""


class Frame:
    """Calls of one function, that came together.

    Attributes:
        first: The number of the first of them.
        function: The number of the function.
        context: The number of the context variables that the calls are to see, or 0 for none.
        calls: The arguments of each: a tuple of plain ones; bytes, a pickle of both kinds; or None, if
            that is the first of the payloads.
        steps: Functions that are to be called one after another with the value of the one before: the
            number, the pickled arguments, whether the parent watches its time, and that of the call before.
        payloads: What the arguments consist of, or refer to.
        is_noted: Whether the parent wants to know when each call begins and ends.
        needs_care: Whether there is more to a call of it than a function and its arguments.
    """

    __slots__ = (
        "calls",
        "context",
        "end",
        "first",
        "function",
        "is_noted",
        "needs_care",
        "payloads",
        "steps",
    )

    def __init__(
        self,
        first: int,
        function: int,
        context: int,
        calls: list[Any],
        steps: list[Any],
        payloads: list[Payload],
        *,
        is_noted: bool,
    ) -> None:
        self.first = first
        self.end = first + len(calls)
        self.function = function
        self.calls = calls
        self.steps = steps
        self.context = context
        self.payloads = payloads
        self.is_noted = is_noted
        self.needs_care = bool(steps or context or is_noted)


class Inbox:
    """Calls, one after another.

    Args:
        stream: Where frames are read from.
        tokens: The pipe of tokens; None if there is none: then whatever comes is to begin.
        line: The socket that descriptors come over, or None.
        outbox: Where it is reported that a call has begun, if there are no tokens.

    Attributes:
        frame: The frame of the call that was taken last.
        functions: By number, those that have come, and contexts: pickled, until they are needed; None for
            one that comes with the arguments of each call.
    """

    def __init__(self, stream: Any, tokens: int | None, line: int | None, outbox: Outbox) -> None:
        self.functions: dict[int, Any] = {}
        self.frame = Frame(0, 0, 0, [], [], [], is_noted=False)
        self._stream = stream
        self._tokens = tokens
        self._line = line
        self._outbox = outbox
        self._frames: deque[Frame] = deque()
        self._descriptors: deque[int] = deque()
        self._is_over = False
        if tokens is not None:
            self._poll = select.poll()
            # The parent reads from the same pipe: between the poll and the read it may be the quicker one.
            os.set_blocking(tokens, False)
            self._poll.register(tokens, select.POLLIN)
            self._poll.register(stream.fileno(), select.POLLIN)

    def take(self) -> Any:
        """The arguments of the next call, which begins; or NOTHING."""
        if self._tokens is None:
            return self._take_whatever_comes()
        try:
            token = os.read(self._tokens, 8)
        except BlockingIOError:
            return NOTHING
        if not token:
            self._is_over = True
            return NOTHING
        number = _number_of(token, _BYTE_ORDER)
        frame = self.frame
        if number >= frame.end:
            found = self._frame_with(number)
            if found is None:
                return NOTHING
            self.frame = frame = found
        index = number - frame.first
        call = frame.calls[index]
        frame.calls[index] = None  # nothing but the call itself is to refer to its arguments
        return call

    def wait(self) -> bool:
        """Wait for something to be there; False if nothing will be, because the parent wants no more."""
        if self._is_over:
            return False
        if self._tokens is None:
            return self._read_frame()
        ready = [fd for fd, _ in self._poll.poll()]
        if self._tokens in ready:
            return True
        # A frame that the pipe cannot hold: its tokens come when all of it has been read.
        return self._read_frame()

    def _frame_with(self, number: int) -> Frame | None:
        """The frame of a call that comes after the present frame's; None at the end of all."""
        frames = self._frames
        while True:
            while not frames:
                if not self._read_frame():
                    return None
            frame = frames.popleft()
            if number < frame.end:
                return frame
            # All of it has been begun, elsewhere.

    def _take_whatever_comes(self) -> Any:
        if not self._frames:
            return NOTHING
        self.frame = self._frames.popleft()
        self._outbox.write(BEGUN)
        return self.frame.calls.pop()

    def _read_frame(self) -> bool:
        read = read_frame(self._stream)
        if read is None:
            self._is_over = True
            return False
        (first, function, new, forgotten, calls, steps, context, is_noted, layout, _), parts = read
        for number in forgotten:
            self.functions.pop(number, None)
        self.functions.update(new)
        following = iter(parts)
        payloads = [
            Payload(sizes, fd=self._descriptor())
            if is_shared
            else Payload(sizes, [next(following)], [next(following) for _ in sizes[1:]])
            for sizes, is_shared in layout
        ]
        self._frames.append(Frame(first, function, context, calls, steps, payloads, is_noted=is_noted))
        return True

    def _descriptor(self) -> int:
        assert self._line is not None
        while not self._descriptors:
            poll = select.poll()
            poll.register(self._line, select.POLLIN)
            poll.poll()
            received = receive_descriptors(self._line)
            if received is None:
                raise BrokenPipeError  # the parent is gone
            self._descriptors += received
        return self._descriptors.popleft()
