"""What is kept between rounds, so that a server that was stopped goes on with the next one.

One file holds all of it and is replaced as a whole: `state.npz`, with arrays and, as its entry "meta", the
JSON of everything else. A server that is killed while it writes leaves the state of the round before.
"""

import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from .layout import Entry, Layout

VERSION = 1
STATE = "state.npz"
HISTORY = "history.json"


class StateError(ValueError):
    """A state that cannot be gone on with; the text says what to do."""

    code = "bad-state"


@dataclass
class State:
    """Where a federation stands."""

    digest: str
    layout: Layout
    seed: int
    round_number: int = 0
    # How often clients have given away something noised; a round that is repeated counts each time.
    releases: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)


def _replace(path: Path, write: Callable[[IO[bytes]], None]) -> None:
    """Writes a file beside the old one, sees it onto the disk, and puts it in the old one's place."""
    beside = path.with_name(f"{path.name}.new")
    with beside.open("wb") as stream:
        write(stream)
        stream.flush()
        os.fsync(stream.fileno())
    beside.replace(path)


def save_state(folder: Path, state: State) -> None:
    """Writes the state and history.json into a folder that exists."""
    meta = {
        "version": VERSION,
        "digest": state.digest,
        "seed": state.seed,
        "round": state.round_number,
        "releases": state.releases,
        "history": state.history,
        "entries": [asdict(entry) for entry in state.layout.entries],
        "frozen": [asdict(entry) for entry in state.layout.frozen],
    }
    encoded = np.frombuffer(json.dumps(meta).encode(), dtype=np.uint8)
    _replace(folder / STATE, lambda stream: np.savez(stream, meta=encoded, **state.arrays))
    text = json.dumps({"version": VERSION, "rounds": state.history}, indent=2) + "\n"
    _replace(folder / HISTORY, lambda stream: stream.write(text.encode()))


def has_state(folder: Path) -> bool:
    return (folder / STATE).exists()


def load_state(folder: Path, digest: str) -> State:
    """Reads a state back. Raises StateError where it is damaged, of another version or of other terms."""
    path = folder / STATE
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        meta = json.loads(arrays.pop("meta").tobytes())
        if meta["version"] != VERSION:
            raise StateError(f"{path} is of version {meta['version']}; this server reads {VERSION}")
        if meta["digest"] != digest:
            raise StateError(f"{path} belongs to other terms; put those back, or choose another folder")
        layout = Layout(
            tuple(Entry(**entry) for entry in meta["entries"]),
            tuple(Entry(**entry) for entry in meta["frozen"]),
        )
        return State(digest, layout, meta["seed"], meta["round"], meta["releases"], meta["history"], arrays)
    except StateError:
        raise
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise StateError(f"{path} is damaged ({error}); remove it to begin anew") from error
