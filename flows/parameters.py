"""Types and limits of the flows' parameters, the same for Python, the dashboard and the command line.

What each means stands in the docstring of its flow, where Prefect and the command line read it. A value that does not
fit is refused before anything runs: from Python by Prefect's own `ParameterTypeError`, a line per parameter, as by any
other flow; on the command line in one sentence.
"""

from datetime import date
from typing import Annotated, Literal

from pydantic import Field

from tasks.shop.shop import LARGEST_SCALE, SMALLEST_SCALE

Day = date
StackName = Annotated[str, Field(min_length=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Scale = Annotated[float, Field(ge=SMALLEST_SCALE, le=LARGEST_SCALE)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Observability = Literal["summary", "nodes"]
FeedName = Literal["customers", "products", "orders", "reviews"]
