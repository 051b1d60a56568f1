"""Arrow as the type checker sees it here: the published stubs know fewer argument types than the functions take."""

from typing import Any, TypeAlias

import pyarrow.compute
import pyarrow.json
import pyarrow.parquet

Values: TypeAlias = Any
"""An Array or a ChunkedArray."""

Value: TypeAlias = Any
"""A Scalar."""

Field: TypeAlias = Any
"""A Field of a schema."""

compute: Any = pyarrow.compute
json: Any = pyarrow.json
parquet: Any = pyarrow.parquet
