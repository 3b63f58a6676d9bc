"""What a fault needs of a head to make sense there, besides the tap at which it shows."""

from __future__ import annotations

from mindport.migrate.architecture import Architecture, Head
from mindport.migrate.computation import Lookup, Project, Score
from mindport.validate.faults.fault import PRE_NORM, QUERY, style_of


def causal(architecture: Architecture, head: Head) -> bool:
    """A query sees no later key."""
    return any(isinstance(s.operation, Score) and s.operation.causal for s in head.steps)


def not_causal(architecture: Architecture, head: Head) -> bool:
    """A query sees later keys too."""
    return not causal(architecture, head)


def pre_norm(architecture: Architecture, head: Head) -> bool:
    """Blocks norm before their branches, and so there is a norm behind the last block."""
    return style_of(architecture.name) == PRE_NORM


def fused_projections(architecture: Architecture, head: Head) -> bool:
    """Query, key and value are parts of one matrix."""
    query = next(s.operation for s in head.steps if s.tap == QUERY)
    return isinstance(query, Project) and query.part[1] > 1


def biased_decoder(architecture: Architecture, head: Head) -> bool:
    """The scores of words have a bias."""
    last = next(s.operation for s in head.steps if s.tap == "logits")
    return head.prompts == "cloze" and isinstance(last, Project) and bool(last.bias)


def token_types(architecture: Architecture, head: Head) -> bool:
    """Token types are looked up."""
    return _types(head) is not None


def two_segments(architecture: Architecture, head: Head) -> bool:
    """There are at least two token types in every size."""
    module = _types(head)
    if module is None:
        return False
    rows = next(p.shape[0] for p in head.body if p.module == module)
    usual = next(f.default for f in architecture.fields if f.name == rows)
    counts = [size.get(rows, usual) for size in architecture.sizes.values()]
    return all(isinstance(count, int) and count > 1 for count in counts)


def _types(head: Head) -> str | None:
    """Return the module of the table of token types, or None."""
    lookups = (s.operation for s in head.steps if isinstance(s.operation, Lookup))
    tables = (pair for lookup in lookups for pair in lookup.tables)
    return next((module for module, ids in tables if ids == "token_type_ids"), None)
