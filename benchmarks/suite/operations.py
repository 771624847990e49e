"""Every operation of cpool's, on small arrays: none gets slower unseen."""

from harness.cases import Row
from harness.words import DIVISIBLE, DIVISIONS, RAGGED

from .regime import BACKENDS, LAYOUTS, parameters, ready

SHAPES = {1: (4, 32, 240), 2: (4, 32, 24, 24), 3: (2, 32, 8, 12, 12)}
ARGUMENTS = {
    "adaptive": {DIVISIBLE: (4,), RAGGED: (5,)},
    "strided": {DIVISIBLE: (2, 2, 0), RAGGED: (3, 2, 1)},
    "global": {DIVISIBLE: (1,)},
}


def _rows() -> dict[str, dict[str, Row]]:
    """The rows of each function: with and without a number of axes, forward and backward."""
    found = {}
    for back, gradient in (("", ""), ("_backward", " gradient")):
        for short, reducer in (("avg", "average"), ("max", "max")):
            for rank in (1, 2, 3, 0):
                number = f"{rank}d" if rank else ""
                found[f"adaptive_{short}_pool{number}{back}"] = ("adaptive", f"adaptive {reducer}{gradient}", rank)
                found[f"{short}_pool{number}{back}"] = ("strided", f"{reducer}{gradient}", rank)
            found[f"global_{short}_pool{back}"] = ("global", f"adaptive {reducer}{gradient}", 2)
    rows = {
        function: {
            division: Row("operations", SHAPES[rank or 2], arguments, operation, "operations")
            for division, arguments in ARGUMENTS[way].items()
        }
        for function, (way, operation, rank) in found.items()
    }
    rows["squeeze_excite"] = {DIVISIBLE: Row("operations", SHAPES[2], (), "squeeze-excite", "operations")}
    return rows


ROWS = _rows()


class EveryOperation:
    """One call of each. A plane that becomes a number has no other case than the divisible one."""

    param_names = ("operation", "division", "layout", "backend")
    params = parameters(tuple(ROWS), DIVISIONS, tuple(LAYOUTS), BACKENDS)

    def setup(self, operation: str, division: str, layout: str, backend: str) -> None:
        """Make the call ready, and see that its result is right."""
        if division not in ROWS[operation]:
            raise NotImplementedError(f"{operation} divides everything")
        self.call = ready(operation, ROWS[operation][division], layout, "float32", backend, True).call

    def time_call(self, *params: str) -> None:
        """A call, from its arguments to the end of its work."""
        self.call()
