"""The app's run config: where the terms are, where the result goes, and what the run begins with."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


class OptionError(ValueError):
    """A run config that cannot be used; the text names the option."""

    code = "bad-option"


@dataclass(frozen=True)
class Options:
    """Absolute paths, and whether the state in `out` is gone on with."""

    terms: Path
    out: Path
    init: Path | None
    resume: bool


def read_options(config: Mapping[str, object]) -> Options:
    """Raises OptionError."""
    paths = {}
    for name in ("terms", "out", "init"):
        value = config.get(name, "")
        if not isinstance(value, str):
            raise OptionError(f"{name} must be a path, not {value!r}")
        paths[name] = Path(value) if value else None
        if paths[name] and not paths[name].is_absolute():
            raise OptionError(
                f"{name} must be an absolute path, not {value!r}: Flower runs the app from another folder"
            )
        if name != "init" and not value:
            raise OptionError(f"{name} is missing; give it by --run-config '{name}=\"…\"'")
    resume = config.get("resume", False)
    if not isinstance(resume, bool):
        raise OptionError(f"resume must be true or false, not {resume!r}")
    return Options(paths["terms"], paths["out"], paths["init"], resume)
