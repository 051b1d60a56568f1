"""Types and limits of the flows' parameters, the same for Python, the dashboard and the command line.

What each means stands in the docstring of its flow, where Prefect and the command line read it.
"""

from datetime import date
from typing import Annotated, Literal

from pydantic import Field

Day = date
StackName = Annotated[str, Field(min_length=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Scale = Annotated[float, Field(gt=0, le=10_000)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Observability = Literal["summary", "nodes"]
FeedName = Literal["customers", "products", "orders", "reviews"]
