"""The batch in the arguments of one call, and any part of it.

Invariant: a part holds exactly the rows of its slice, of every leaf that has rows, and the other leaves as
they are. One array as the only argument, the commonest call, has a
way of its own: no tree is built for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microbatch.arrays.looks import is_array
from microbatch.arrays.memory import nbytes_of
from microbatch.arrays.row_types import has_rows
from microbatch.arrays.shared_memory import SharedRows, shared_rows
from microbatch.arrays.trees import TreeSpec, leaf_paths
from microbatch.binding.leaf_parts import LeafCut, part_of, permuted_leaf, permuted_shape, token_permutation
from microbatch.binding.paths import Declared, input_name
from microbatch.binding.rules import ROW_KINDS, TOKENS, Kind, Rule, replicate
from microbatch.binding.structure import Structure, structure_of
from microbatch.cutting.slices import BatchShape, UBatchSlice
from microbatch.extend.device import Owners
from microbatch.extend.protocols import Backend

SINGLE = (LeafCut(0, TOKENS),)


class Batch:
    """The arguments of one call, and what of them is cut. Holds the arrays: drop it when the step is over."""

    __slots__ = (
        "_cuts",
        "_leaves",
        "_others",
        "_rows",
        "_spec",
        "declared",
        "most_rows",
        "only_kind",
        "other_axis",
        "owners",
        "shape",
        "width",
    )

    def __init__(
        self,
        shape: BatchShape,
        leaves: Sequence[Any],
        cuts: tuple[LeafCut, ...],
        spec: TreeSpec | None,
    ) -> None:
        """`spec` is None where the one positional argument is the one leaf, cut along its rows."""
        self.shape = shape
        self.declared = False
        """Whether the layout says what every argument and output is."""
        self.owners: Owners | None = None
        """Says which backend an array of another framework belongs to; None where all are of one."""
        self.most_rows = shape.num_tokens
        """Rows of the batch by the reading that has most."""
        self._leaves = leaves
        self._cuts = cuts
        self._spec = spec
        self._rows: tuple[int, ...] = ()
        self._others: tuple[LeafCut, ...] = ()
        self.width: int | None = None
        """Size of the padded axis that parts may trim; None when there is none."""
        self.other_axis = 0
        """The first axis other than 0 along which an input is cut; 0 when all are cut along their rows."""
        self.only_kind = type(leaves[0]) if spec is None else None
        """The type of the one array that is the only argument; None for any other call."""
        if spec is not None:
            plain = [cut.rule is TOKENS and _sliced(leaves[cut.index]) for cut in cuts]
            self._rows = tuple([cut.index for cut, simple in zip(cuts, plain, strict=True) if simple])
            self._others = others = tuple(
                [cut for cut, simple in zip(cuts, plain, strict=True) if not simple]
            )
            widths = [leaves[cut.index].shape[cut.rule.trim] for cut in others if cut.rule.trim is not None]
            self.width = max(widths, default=None)
            axes = [cut.rule.axis for cut in others if cut.rule.kind in ROW_KINDS]
            self.other_axis = next((axis for axis in axes if axis), 0)

    @property
    def signature(self) -> str:
        """Row shapes and dtypes of the leaves that are cut, as text: the same for batches of any size."""
        if self._spec is None:
            leaf = self._leaves[0]  # str(numpy dtype) takes 2 us, its attribute `str` nothing
            return f"{getattr(leaf.dtype, 'str', leaf.dtype)}{tuple(leaf.shape[1:])}"
        return ";".join(_row_text(self._leaves[cut.index], cut.rule) for cut in self._cuts)

    @property
    def counts(self) -> frozenset[int]:
        """How many tokens and requests there are."""
        return frozenset({self.shape.num_tokens, self.shape.num_requests})

    @property
    def by_shape(self) -> bool:
        """Whether shapes alone say what each part is given: no lengths, no caller's function, and where there
        are requests, that all have as many tokens."""
        if self.shape.lengths is not None or any(cut.rule.function is not None for cut in self._cuts):
            return False
        if self.shape.query_start_loc is None:
            return all(cut.rule.kind in ROW_KINDS for cut in self._cuts)
        return self.query_len is not None

    @property
    def query_len(self) -> int | None:
        """Tokens of each request, where all have as many; None where they differ or no leaf says it."""
        starts = self.shape.query_start_loc
        if starts is None or len(starts) < 2:
            return None
        lengths = np.diff(starts)
        return int(lengths[0]) if lengths[0] and (lengths == lengths[0]).all() else None

    def shared_rows(self) -> SharedRows | None:
        """The first leaf whose rows are cut and are one and the same memory, to see whether it is written."""
        if self._spec is None and type(self._leaves[0]) is np.ndarray and self._leaves[0].strides[0]:
            return None  # the commonest call: one array, whose rows are apart
        for cut in self._cuts:
            leaf = self._leaves[cut.index]
            if cut.rule.kind in ROW_KINDS and not has_rows(leaf):
                found = shared_rows(leaf, cut.index, cut.rule.axis)
                if found is not None:
                    return found
        return None

    def token_axes(self) -> list[tuple[Any, int | None]]:
        """Each leaf with the axis along which its tokens are cut; None where they are not."""
        axes = {cut.index: cut.rule.axis for cut in self._cuts if cut.rule.kind == "tokens"}
        return [(leaf, axes.get(index)) for index, leaf in enumerate(self._leaves)]

    def name(self, index: int, names: Sequence[str]) -> str:
        """How a message calls the leaf `index`."""
        path = (0, 0) if self._spec is None else leaf_paths(self._spec)[index]
        return input_name(path, names)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays among the arguments."""
        return sum(map(nbytes_of, self._leaves))

    @property
    def bytes_per_unit(self) -> int:
        """Bytes of all leaves that are cut, per token; per padded token where requests have lengths."""
        return -(-sum(self._sizes()) // self._units())

    @property
    def largest_bytes_per_unit(self) -> int:
        """The same, of the largest leaf."""
        return -(-max(self._sizes(), default=0) // self._units())

    def part(
        self, slice: UBatchSlice, trim: int | None = None, ubatch_id: int = 0
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of the ubatch `slice`, as views where the framework gives views.

        `trim` cuts padded axes down to that width, that of the longest row; None leaves them as they are.
        `slice` is trusted: `validate_slices` checks it before.
        """
        spec, rows = self._spec, None if self.owners is None else self.owners.rows
        if spec is None:
            leaf, where = self._leaves[0], slice.token_slice
            return (leaf[where] if rows is None else rows(leaf, where, 0),), {}
        leaves = list(self._leaves)
        for index in self._rows:
            leaf = leaves[index]
            if rows is None or not is_array(leaf):
                leaves[index] = leaf[slice.token_slice]
            else:
                leaves[index] = rows(leaf, slice.token_slice, 0)
        for cut in self._others:
            index, rule = cut.index, cut.rule
            if rule.function is None:
                leaves[index] = part_of(leaves[index], rule, slice, trim, self.shape)
            else:
                leaves[index] = rule.function(leaves[index], slice, ubatch_id)  # per_ubatch
        return spec.unflatten(leaves)  # type: ignore[return-value]  # the structure of (args, kwargs)

    def copied_part(
        self, slice: UBatchSlice, trim: int | None, ubatch_id: int, backend: Backend
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """As `part`, the arrays that are cut as copies, so that writing into them changes no row of the
        batch."""
        args, kwargs = self.part(slice, trim, ubatch_id)
        spec, whole = self._spec, (args, kwargs)
        leaves: list[Any] = [args[0]] if spec is None else spec.flatten_up_to(whole)  # type: ignore[arg-type]
        for cut in self._cuts:
            leaf, axis = leaves[cut.index], cut.rule.axis
            if cut.rule.kind in ROW_KINDS and is_array(leaf):
                leaves[cut.index] = self._owner(leaf, backend).take(leaf, range(leaf.shape[axis]), axis)
        return (tuple(leaves), {}) if spec is None else spec.unflatten(leaves)  # type: ignore[return-value]

    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of the call, as they were given."""
        if self._spec is None:
            return tuple(self._leaves), {}
        return self._spec.unflatten(self._leaves)  # type: ignore[return-value]

    @property
    def structure(self) -> Structure:
        """What all calls that a proof holds for have in common, and the numbers among the arguments."""
        if self._spec is None:
            return (type(self._leaves[0]), self.signature), ()
        return structure_of(self._spec, self._leaves)

    def spec_and_rules(self) -> tuple[TreeSpec | None, Declared]:
        """The structure of the call, and the rule of each leaf as if all had been declared."""
        rules = dict.fromkeys(range(len(self._leaves)), replicate()) | {c.index: c.rule for c in self._cuts}
        return self._spec, tuple((rule, True) for rule in rules.values())

    def leaf_kinds(self) -> list[tuple[Any, bool]]:
        """Each leaf, and whether it is cut."""
        cut = {cut.index for cut in self._cuts}
        return [(leaf, index in cut) for index, leaf in enumerate(self._leaves)]

    def with_leaves(self, leaves: Sequence[Any]) -> Batch:
        """The same batch with other leaves in their places."""
        return self._like(self.shape, leaves)

    def rebound(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Batch:
        """The same batch in other arguments of the same structure and sizes; no value of them is read."""
        if self._spec is None:
            return self.with_leaves(args)
        tree: Any = (args, dict(kwargs))
        return self.with_leaves(self._spec.flatten_up_to(tree))

    def leaves_of(self, kind: Kind) -> list[tuple[int, Any]]:
        """The leaves that a rule of this kind cuts, with their numbers."""
        return [(cut.index, self._leaves[cut.index]) for cut in self._cuts if cut.rule.kind == kind]

    def opened_less(self, leaves: Sequence[Any], spec: TreeSpec) -> Batch:
        """The same batch, where some arguments of which nothing is cut are leaves themselves."""
        assert self._spec is not None, "one array has nothing to be opened"
        places: list[int] = []  # old number -> new number
        start = 0
        for before, after in zip(_arguments(self._spec), _arguments(spec), strict=True):
            alike = before.num_leaves == after.num_leaves
            places += [start + (index if alike else 0) for index in range(before.num_leaves)]
            start += after.num_leaves
        cuts = tuple([LeafCut(places[cut.index], cut.rule) for cut in self._cuts])
        batch = self._of_kind(leaves, cuts, spec)
        batch.owners, batch.declared, batch.most_rows = self.owners, self.declared, self.most_rows
        return batch

    def permuted(self, permutation: Sequence[int] | NDArray[np.int64], backend: Backend) -> Batch:
        """The requests `permutation` (new position -> old), all or some, as a batch of copies."""
        order = np.asarray(permutation, dtype=np.int64)
        token_order = token_permutation(self.shape, order)
        leaves = list(self._leaves)
        for cut in self._cuts:
            leaf = leaves[cut.index]
            owner = self._owner(leaf, backend)
            leaves[cut.index] = permuted_leaf(leaf, cut.rule, order, token_order, owner)
        return self._like(permuted_shape(self.shape, order), leaves)

    def _owner(self, leaf: Any, backend: Backend) -> Backend:
        return backend if self.owners is None else self.owners.of(leaf)

    def _of_kind(self, leaves: Sequence[Any], cuts: tuple[LeafCut, ...], spec: TreeSpec) -> Batch:
        return Batch(self.shape, leaves, cuts, spec)

    def _like(self, shape: BatchShape, leaves: Sequence[Any]) -> Batch:
        batch = Batch(shape, leaves, self._cuts, self._spec)
        batch.owners = self.owners
        return batch

    def _sizes(self) -> list[int]:
        return [nbytes_of(self._leaves[cut.index]) for cut in self._cuts]

    def _units(self) -> int:
        lengths = self.shape.lengths
        if lengths is None or len(lengths) == 0:
            return max(1, self.shape.num_tokens)
        return max(1, len(lengths) * int(self.width or lengths.max()))


def _arguments(spec: TreeSpec) -> list[TreeSpec]:
    """The structure of each argument."""
    return [argument for place in spec.children() for argument in place.children()]


def _sliced(leaf: Any) -> bool:
    """Whether its rows are what a slice of it gives."""
    return type(leaf) in (np.ndarray, list, tuple, range) or not has_rows(leaf)


def _row_text(leaf: Any, rule: Rule) -> str:
    if not is_array(leaf):
        return type(leaf).__name__
    free = (rule.axis, rule.trim)
    row = ",".join(str(size) for axis, size in enumerate(leaf.shape) if axis not in free)
    return f"{getattr(leaf.dtype, 'str', leaf.dtype)}({row})"
