"""The accepted words of options about bundles, apart from what takes long to import."""

from typing import Literal


Precision = Literal["fp32", "int8"]
