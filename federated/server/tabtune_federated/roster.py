"""Which nodes there are, and whether they fit: each is asked for its layout when it is first seen."""

import time
from collections.abc import Callable
from logging import INFO, WARNING

from flwr.app import ConfigRecord, RecordDict
from flwr.serverapp import Grid
from flwr.supercore import log

from .exchange import Question, printable, replies, send
from .layout import Layout, LayoutError, difference, most_common, read_layout
from .terms import Terms

PAUSE = 0.3
# Nodes that come at the same time begin together, even where fewer would be enough.
SETTLE_SECONDS = 3.0
ASK_AGAIN_SECONDS = 60.0
TELL_AGAIN_SECONDS = 60.0


class Roster:
    """The nodes that can be asked for a round."""

    def __init__(self, grid: Grid, terms: Terms, layout: Layout | None) -> None:
        """`layout` is what all have to have, where that is known already (the run goes on, or begins with
        an adapter).
        """
        self._grid = grid
        self._terms = terms
        self._known: dict[int, Layout] = {}
        self._pending: dict[str, int] = {}
        self._not_before: dict[int, float] = {}
        self._told: dict[int, str] = {}
        self.layout = layout

    def gather(self, least: int) -> dict[int, Layout]:
        """Waits until at least so many nodes are there that fit; each with its layout."""
        enough_since = None
        told = 0.0
        while True:
            there = self._online()
            self._ask_new(there)
            self._take_answers()
            fitting = {
                node_id: layout for node_id, layout in self._fitting(least).items() if node_id in there
            }
            if len(fitting) < least:
                enough_since = None
                if time.monotonic() - told > TELL_AGAIN_SECONDS:
                    told = time.monotonic()
                    log(INFO, "waiting for clients: %d of %d are there", len(fitting), least)
            else:
                enough_since = enough_since or time.monotonic()
                if not self._pending or time.monotonic() - enough_since > SETTLE_SECONDS:
                    return fitting
            time.sleep(PAUSE)

    def there(self) -> dict[int, Layout]:
        """The nodes that are there and fit; each with its layout."""
        there = self._online()
        return {node_id: layout for node_id, layout in self._known.items() if node_id in there}

    def _online(self) -> set[int]:
        enrolled = self._terms.enrolled
        keys = None if enrolled is None else {key.encode() for key in enrolled}
        there = set()
        for node in self._grid.get_nodes():
            if keys is None or node.public_key in keys:
                there.add(node.node_id)
            else:
                self._tell(node.node_id, "its key is not in the enrolment list")
        return there

    def _ask_new(self, there: set[int]) -> None:
        waiting = set(self._pending.values())
        now = time.monotonic()
        new = [
            node_id
            for node_id in there - self._known.keys() - waiting
            if self._not_before.get(node_id, 0) <= now
        ]
        if not new:
            return
        contents = {node_id: RecordDict({"config": ConfigRecord({"server-round": 0})}) for node_id in new}
        self._pending |= send(self._grid, Question("query.layout", 0, self._terms.round_seconds, contents))
        for node_id in new:
            self._not_before[node_id] = now + ASK_AGAIN_SECONDS

    def _take_answers(self) -> None:
        for node_id, message in replies(self._grid, self._pending):
            if message.has_error():
                self._tell(node_id, message.error.reason or "an error without a reason")
                continue
            try:
                record = message.content.get("layout")
                if not isinstance(record, ConfigRecord):
                    raise LayoutError('the answer has no ConfigRecord "layout"')
                self._known[node_id], examples = read_layout(record, self._terms)
                log(INFO, "node %d joined with %d rows", node_id, examples)
            except LayoutError as error:
                self._tell(node_id, str(error))

    def _fitting(self, least: int) -> dict[int, Layout]:
        any_rank = self._terms.aggregation == "flexlora"
        if self.layout is None and self._known:
            layout, count = most_common(self._known.values(), any_rank)
            if count >= least:
                self.layout = layout
        if self.layout is None:
            self._tell_disagreement(any_rank)
            return {}
        fitting = self._filter(lambda other: difference(self.layout, other, any_rank))
        # The others are asked again: a tab may have been set up anew since.
        self._known = dict(fitting)
        return fitting

    def _filter(self, why: Callable[[Layout], str | None]) -> dict[int, Layout]:
        fitting = {}
        for node_id, layout in self._known.items():
            reason = why(layout)
            if reason is None:
                fitting[node_id] = layout
            else:
                self._tell(node_id, reason)
        return fitting

    def _tell_disagreement(self, any_rank: bool) -> None:
        if self._known:
            common, _ = most_common(self._known.values(), any_rank)
            self._filter(lambda other: difference(common, other, any_rank))

    def _tell(self, node_id: int, why: str) -> None:
        if self._told.get(node_id) != why:
            self._told[node_id] = why
            log(WARNING, "node %d cannot take part: %s", node_id, printable(why))
