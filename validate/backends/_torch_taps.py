"""Listen to a ``transformers`` model: what every tap's module returned, was given, or softmaxed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mindport.migrate.architecture import Head, Tap


class Listener:
    """Keeps the tensors of the taps while a model runs; use it as a context.

    Scores and weights are no module's output: while an attention module runs, a
    ``TorchFunctionMode`` sees what goes into its softmax and what comes out.

    Args:
        torch: The module torch.
        model: A ``transformers`` model.
        head: Its description.
        taps: What to keep.
    """

    def __init__(self, torch: Any, model: Any, head: Head, taps: Sequence[Tap]) -> None:
        self.captured: dict[str, Any] = {}
        self._listening = False
        self._softmax: list[tuple[Tap, ...]] = []  # of the attention modules that run now
        self._handles: list[Any] = []
        self._mode = _softmax_mode(torch, self._keep_softmax)
        inside: dict[str, list[Tap]] = {}
        for tap in taps:
            if tap.end in ("softmax-input", "softmax-output"):
                inside.setdefault(tap.module, []).append(tap)
            elif tap.module:
                self._listen(_module(model, head, tap), tap)
        for members in inside.values():
            module = _module(model, head, members[0])
            self._handles += [
                module.register_forward_pre_hook(self._enter(tuple(members))),
                module.register_forward_hook(lambda *_: self._softmax.pop() and None),
            ]

    def _listen(self, module: Any, tap: Tap) -> None:
        if tap.end == "input":
            hook = module.register_forward_pre_hook(lambda _, given: self._keep(tap, given[0]))
        else:
            hook = module.register_forward_hook(lambda _module, _, out: self._keep(tap, out))
        self._handles.append(hook)

    def _enter(self, taps: tuple[Tap, ...]) -> Callable[..., None]:
        return lambda *_: self._softmax.append(taps)

    def _keep(self, tap: Tap, value: Any) -> None:
        if not self._listening:  # what is kept would keep the whole backward graph alive
            return
        # Modules return a tensor or a tuple whose first element is it, by version.
        tensor = value[0] if isinstance(value, tuple) else value
        number, parts = tap.part
        self.captured[tap.name] = tensor if parts == 1 else tensor.chunk(parts, -1)[number]

    def _keep_softmax(self, scores: Any, weights: Any) -> None:
        for tap in self._softmax[-1] if self._softmax else ():
            # A softmax that is computed in float32 is cast back before it is used.
            value = scores if tap.end == "softmax-input" else weights.to(scores.dtype)
            self.captured[tap.name] = value

    def __enter__(self) -> Listener:
        self.captured.clear()
        self._listening = True
        self._mode.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._mode.__exit__(*error)
        self._listening = False

    def close(self) -> None:
        """Take the hooks away."""
        for handle in self._handles:
            handle.remove()


def _module(model: Any, head: Head, tap: Tap) -> Any:
    return model.get_submodule((head.prefix if tap.in_body else "") + tap.module)


def _softmax_mode(torch: Any, keep: Callable[[Any, Any], None]) -> Any:
    functions = (torch.nn.functional.softmax, torch.softmax, torch.Tensor.softmax)

    class Mode(torch.overrides.TorchFunctionMode):  # type: ignore[misc]
        def __torch_function__(
            self, function: Any, _types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            result = function(*args, **(kwargs or {}))
            if function in functions:
                keep(args[0], result)
            return result

    return Mode()
