"""Commands of Flower's command line in this process: to start Python and load Flower is most of what one takes.

As a program it runs one after another: each line that comes is a JSON array of a command's arguments, and a line
{ "code", "out" } answers it.
"""

import io
import json
import sys

from flwr.cli.app import app


def command(*arguments: str) -> tuple[int, str]:
    """Runs `flwr` with these arguments; its exit code, and what it has printed."""
    before = sys.argv, sys.stdout, sys.__stdout__
    said = io.StringIO()
    sys.argv = ["flwr", *arguments]
    # Flower goes back to the output that Python began with when a command is through.
    sys.stdout = sys.__stdout__ = said
    code = 0
    try:
        app()
    except SystemExit as ended:
        code = int(ended.code or 0)
    finally:
        sys.argv, sys.stdout, sys.__stdout__ = before
    return code, said.getvalue()


def serve() -> None:
    for line in sys.stdin:
        code, out = command(*json.loads(line))
        print(json.dumps({"code": code, "out": out}), flush=True)


if __name__ == "__main__":
    serve()
