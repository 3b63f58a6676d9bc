"""Listen to the cells of a user's network with forward hooks, which fire in eager mode alone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from mindport.migrate.errors import MindportError
from mindport.validate.own.calling import flatten
from mindport.validate.own.observation import CellRecord, Seen
from mindport.validate.own.places import Place


def observe(mindspore: Any, network: Any, run: Callable[[], Any]) -> dict[str, CellRecord]:
    """Run a network once and record every cell that ran, by path.

    Args:
        mindspore: The module.
        network: An ``nn.Cell``.
        run: Calls it.
    """
    tensor = mindspore.Tensor
    clock = 0
    entered: dict[str, list[tuple[int, list[Any]]]] = {}
    left: dict[str, list[tuple[int, list[Any]]]] = {}

    def listen(path: str, log: dict[str, list[tuple[int, list[Any]]]]) -> Callable[[Any], None]:
        def note(value: Any) -> None:
            nonlocal clock
            clock += 1
            log.setdefault(path, []).append((clock, flatten(value, tensor)))

        return note

    cells = cells_of(network)
    handles = []
    for path, cell in cells.items():
        handles += _hook(cell, "input", listen(path, entered))
        handles += _hook(cell, "output", listen(path, left))
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    # The tensors are still held, so one number is one object.
    numbers: dict[int, int] = {}

    def seen(tensors: list[Any]) -> tuple[Seen, ...]:
        return tuple(Seen(tuple(t.shape), numbers.setdefault(id(t), len(numbers))) for t in tensors)

    records = {}
    for path, cell in cells.items():
        if path in entered and path in left:
            records[path] = CellRecord(
                path=path,
                kind=type(cell).__name__,
                parameters={
                    name: tuple(parameter.shape)
                    for name, parameter in cell.parameters_and_names(expand=False)
                },
                elements=sum(int(p.size) for p in cell.get_parameters()),
                leaf=not any(cell.cells()),
                calls=len(left[path]),
                entered=entered[path][0][0],
                left=left[path][-1][0],
                inputs=seen(entered[path][0][1]),
                outputs=seen(left[path][0][1]),
            )
    return records


def cells_of(network: Any) -> dict[str, Any]:
    """Return every cell by path; the network itself has the empty one."""
    return dict(network.cells_and_names())


def _hook(cell: Any, end: str, note: Callable[[Any], None]) -> list[Any]:
    """Tell ``note`` what a cell is given or returns."""
    if end == "input":
        return [
            cell.register_forward_pre_hook(
                lambda _, given, named: note((*given, *named.values())), with_kwargs=True
            )
        ]
    return [cell.register_forward_hook(lambda _cell, _given, output: note(output))]


class Listener:
    """Keeps the tensors at places while a network runs; use it as a context.

    Only references are kept, until the next run.

    Args:
        mindspore: The module.
        network: An ``nn.Cell``.
        places: By the name of a tap.
    """

    def __init__(self, mindspore: Any, network: Any, places: Mapping[str, Place]) -> None:
        self._tensor = mindspore.Tensor
        self._cells = cells_of(network)
        self._places = places
        self._kept: dict[tuple[str, str], list[Any]] = {}
        self._handles: list[Any] = []

    def __enter__(self) -> Listener:
        self._kept.clear()
        wanted = {(place.cell, place.end) for place in self._places.values()}
        for path, end in sorted(wanted):
            self._handles += _hook(self._cells[path], end, self._keeper(path, end))
        return self

    def __exit__(self, *error: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _keeper(self, path: str, end: str) -> Callable[[Any], None]:
        def keep(value: Any) -> None:
            self._kept[path, end] = flatten(value, self._tensor)

        return keep

    def captured(self, wanted: Collection[str]) -> dict[str, Any]:
        """Return the tensors of taps.

        Raises:
            MindportError: If a cell did not run or has no such tensor, or it has no such parts.
        """
        found = {}
        for tap in wanted:
            place = self._places[tap]
            tensors = self._kept.get((place.cell, place.end), [])
            if place.index >= len(tensors):
                raise MindportError(
                    f"{tap}: there is no {place}: the cell has {len(tensors)} tensors there.",
                    "Correct it in the taps file.",
                )
            tensor = tensors[place.index]
            number, parts = place.part
            if parts > 1:
                width = tensor.shape[-1] // parts if tensor.ndim else 0
                if not width or width * parts != tensor.shape[-1]:
                    raise MindportError(
                        f"{tap}: the {place} has shape {tuple(tensor.shape)}, which cannot be cut "
                        f"in {parts} parts.",
                        "Correct it in the taps file.",
                    )
                tensor = tensor[..., number * width : (number + 1) * width]
            found[tap] = tensor
        return found
