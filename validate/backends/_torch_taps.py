"""Listen to a ``transformers`` model: what every tap's module returned, was given, or softmaxed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from mindport.migrate.architecture import Head, Tap

# Told what went into a softmax, and what came out.
Keep = Callable[[Any, Any], None]
Watch = Callable[[Any, Keep], AbstractContextManager[Any]]


def function_mode(torch: Any, keep: Keep) -> AbstractContextManager[Any]:
    """Watch every softmax with a ``TorchFunctionMode``; this is how PyTorch itself offers it."""
    functions = (torch.nn.functional.softmax, torch.softmax, torch.Tensor.softmax)

    class Mode(torch.overrides.TorchFunctionMode):  # type: ignore[misc]
        def __torch_function__(
            self, function: Any, _types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            result = function(*args, **(kwargs or {}))
            if function in functions:
                keep(args[0], result)
            return result

    mode: AbstractContextManager[Any] = Mode()
    return mode


class Wrapped:
    """Watch ``nn.functional.softmax``, which ``transformers`` calls, by standing in for it.

    For a torch that has no function modes.

    Args:
        torch: The module that is called torch.
        keep: Told what went in and what came out.
    """

    def __init__(self, torch: Any, keep: Keep) -> None:
        self._functional = torch.nn.functional
        self._keep = keep
        self._own = self._functional.softmax

    def __enter__(self) -> Wrapped:
        def softmax(scores: Any, *args: Any, **kwargs: Any) -> Any:
            weights = self._own(scores, *args, **kwargs)
            self._keep(scores, weights)
            return weights

        self._functional.softmax = softmax
        return self

    def __exit__(self, *error: object) -> None:
        self._functional.softmax = self._own


class Listener:
    """Keeps the tensors of the taps while a model runs; use it as a context.

    Scores and weights are no module's output: while an attention module runs, what goes into its
    softmax and what comes out is watched.

    Args:
        torch: The module torch.
        model: A ``transformers`` model.
        head: Its description.
        taps: What to keep.
        watch: How this torch lets its softmax be watched.
    """

    def __init__(
        self,
        torch: Any,
        model: Any,
        head: Head,
        taps: Sequence[Tap],
        watch: Watch = function_mode,
    ) -> None:
        self.captured: dict[str, Any] = {}
        self._listening = False
        self._softmax: list[tuple[Tap, ...]] = []  # of the attention modules that run now
        self._handles: list[Any] = []
        self._watch: Any = watch(torch, self._keep_softmax)
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
        self._watch.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._watch.__exit__(*error)
        self._listening = False

    def close(self) -> None:
        """Take the hooks away."""
        for handle in self._handles:
            handle.remove()


def _module(model: Any, head: Head, tap: Tap) -> Any:
    return model.get_submodule((head.prefix if tap.in_body else "") + tap.module)
