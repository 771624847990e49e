from typing import Any

import numpy as np
from numpy.typing import NDArray

HOST: tuple[int, ...]

class Lent:
    def __init__(self, array: NDArray[Any], code: int) -> None: ...
    def __dlpack_device__(self) -> tuple[int, int]: ...
    def __dlpack__(
        self, *, stream: Any = None, max_version: Any = None, dl_device: Any = None, copy: bool | None = None
    ) -> Any: ...

def read(capsule: Any, types: dict[tuple[int, int], np.dtype[Any]]) -> NDArray[Any]: ...
