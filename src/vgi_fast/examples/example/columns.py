"""Annotations that several modules share.

``Array`` columns and results given as plain sequences need neither NumPy nor pyarrow when a function is
declared: a worker that only lists its functions imports neither.
"""

from collections.abc import Sequence
from typing import Annotated, Any

from vgi_fast import Array, Param, Returns

Text = Annotated[Array, Param(arrow_type="utf8")]
ArrowText = Annotated[Any, Returns(arrow_type="utf8")]
Texts = Annotated[Sequence[str | None], Returns(arrow_type="utf8")]
Blobs = Annotated[Sequence[bytes], Returns(arrow_type="binary")]
