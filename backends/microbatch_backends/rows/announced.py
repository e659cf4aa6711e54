"""What is announced: the types of each library, named as text.

Invariant: none of these libraries is imported here, nor by anybody because of this.
"""

from __future__ import annotations

from microbatch.extend.records import ContainerInfo, RowsInfo

_HERE = "microbatch_backends.rows"

ROWS = tuple(
    RowsInfo(type=kind, load=f"{_HERE}.{load}", summary=summary)
    for kind, load, summary in (
        ("pandas:DataFrame", "pandas:FrameRows", "index, names and types of columns stay"),
        ("pandas:Series", "pandas:FrameRows", "index, name and type stay"),
        ("pandas:Index", "pandas:IndexRows", "labels, of several levels too"),
        ("pandas.api.extensions:ExtensionArray", "pandas:ColumnRows", "categories, nullable numbers, dates"),
        ("modin.pandas:DataFrame", "pandas:FrameRows", "as of pandas"),
        ("modin.pandas:Series", "pandas:FrameRows", "as of pandas"),
        ("cudf:DataFrame", "pandas:FrameRows", "as of pandas"),
        ("cudf:Series", "pandas:FrameRows", "as of pandas"),
        ("polars:DataFrame", "polars:FrameRows", "the schema stays"),
        ("polars:Series", "polars:FrameRows", "name and type stay"),
        ("polars:LazyFrame", "polars:LazyRows", "refused: it has no rows until it is collected"),
        ("pyarrow:Table", "arrow:TableRows", "the schema stays"),
        ("pyarrow:RecordBatch", "arrow:BatchRows", "the schema stays"),
        ("pyarrow:ChunkedArray", "arrow:ChunkedRows", "the type stays"),
        ("pyarrow:Array", "arrow:ArrayRows", "the type stays"),
        (
            "datasets.formatting.formatting:LazyBatch",
            "datasets:BatchRows",
            "what `datasets.map` gives a function; a part is one, too, and columns stay unread",
        ),
        ("xarray:DataArray", "labelled:LabelledRows", "along its first dimension; coordinates stay"),
        (
            "xarray:Dataset",
            "labelled:LabelledRows",
            "along the dimension that comes first in most variables",
        ),
        ("scipy.sparse:sparray", "sparse:SparseRows", "format and type of numbers stay"),
        ("scipy.sparse:spmatrix", "sparse:SparseRows", "format and type of numbers stay"),
    )
)
"""One for each type; classes derived from it are of its kind."""


def _open_distribution(distribution: object) -> object:
    from microbatch_backends.torch_device.distributions import flatten

    return flatten(distribution)


def _built_distribution(kept: object, parameters: object) -> object:
    from microbatch_backends.torch_device.distributions import unflatten

    return unflatten(kept, parameters)


CONTAINERS = (
    ContainerInfo(
        type="torch.distributions:Distribution",
        flatten=_open_distribution,  # type: ignore[arg-type]
        unflatten=_built_distribution,
        subclasses=True,
    ),
    # keys and values of a decoder's layers, a row each; older versions keep them in lists of the cache itself
    ContainerInfo(type="transformers.cache_utils:Cache", subclasses=True),
    ContainerInfo(type="transformers.cache_utils:CacheLayerMixin", subclasses=True),
)
"""Objects that hold rows and tell nobody."""
