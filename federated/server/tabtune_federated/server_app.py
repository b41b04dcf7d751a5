"""The Flower ServerApp: reads the run config, begins or goes on, and writes the adapter at the end."""

from logging import ERROR, INFO

import numpy as np
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp
from flwr.supercore import log

from .adapter_files import read_adapter, write_adapter
from .aggregation import FlatHeld, Held
from .flexlora import FlexHeld
from .layout import LayoutError, first_values, named
from .options import OptionError, Options, read_options
from .records import array_of
from .roster import Roster
from .rounds import Federation, run_rounds
from .state import STATE, State, StateError, has_state, load_state
from .terms import Terms, TermsError, read_terms

DEFAULT_SEED = 42
DONE = "the adapter is in"

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    try:
        options = read_options(context.run_config)
        terms = read_terms(options.terms)
        federation = prepare(grid, terms, options)
    except (OptionError, TermsError, StateError, LayoutError) as error:
        log(ERROR, "error[%s]: %s", error.code, error)
        raise
    run_rounds(federation)
    matrices = federation.held.matrices() | frozen_matrices(federation)
    write_adapter(options.out, terms, matrices)
    log(INFO, "all %d rounds are done; %s %s", terms.rounds, DONE, options.out)


def frozen_matrices(federation: Federation) -> dict[str, np.ndarray]:
    """The matrices that stayed as they came, by name."""
    if federation.frozen is None:
        return {}
    return named(federation.state.layout.frozen, federation.state.arrays["frozen"])


def prepare(grid: Grid, terms: Terms, options: Options) -> Federation:
    """What the rounds work on: as the state in `out` has it, or from the first values.

    The first values need a layout, so without a state this waits until enough clients agree on one.
    """
    options.out.mkdir(parents=True, exist_ok=True)
    if has_state(options.out):
        if not options.resume:
            raise StateError(
                f"{options.out / STATE} is there already; go on with resume=true, or choose another folder"
            )
        return _resumed(grid, terms, options)
    roster = Roster(grid, terms, None)
    roster.gather(terms.min_clients)
    layout = roster.layout
    seed = terms.train.get("seed")
    state = State(terms.digest, layout, seed if type(seed) is int and seed >= 0 else DEFAULT_SEED)
    held = _begun(terms, options, state)
    state.arrays |= held.state()
    return _federation(grid, terms, options, roster, state, held)


def _begun(terms: Terms, options: Options, state: State) -> Held:
    """The first values, or those of the adapter that the run begins with."""
    if terms.aggregation == "flexlora":
        flex = FlexHeld(state.layout, terms, state.seed)
        if options.init:
            values, _ = read_adapter(options.init, state.layout.with_rank(terms.lora.r), terms)
            flex.take(values)
        return flex
    if options.init:
        values, frozen = read_adapter(options.init, state.layout, terms)
    else:
        values, frozen = first_values(state.layout, state.seed)
    if state.layout.frozen:
        state.arrays["frozen"] = frozen
    return FlatHeld(state.layout, terms, values)


def _resumed(grid: Grid, terms: Terms, options: Options) -> Federation:
    state = load_state(options.out, terms.digest)
    log(INFO, "going on after round %d of %d", state.round_number, terms.rounds)
    if terms.aggregation == "flexlora":
        held: Held = FlexHeld(state.layout, terms, state.seed)
    else:
        held = FlatHeld(state.layout, terms, state.arrays["values"])
    held.restore(state.arrays)
    return _federation(grid, terms, options, Roster(grid, terms, state.layout), state, held)


def _federation(
    grid: Grid, terms: Terms, options: Options, roster: Roster, state: State, held: Held
) -> Federation:
    frozen = array_of(state.arrays["frozen"]) if state.layout.frozen else None
    return Federation(grid, terms, options.out, roster, state, held, frozen)
