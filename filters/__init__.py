"""The filters, in one visible table: the type of a filter's YAML to the filter itself.

None: the YAML is checked, the filter comes later, and `validate` and `run` say so.
"""

from .api import Filter, FilterConfig
from .dedup import DedupConfig
from .flags import FlagsConfig, FlagsFilter
from .headers import HeadersConfig, HeadersFilter
from .mirror import MirrorConfig, MirrorFilter
from .split import SplitConfig, SplitFilter

FILTERS: dict[type[FilterConfig], type[Filter] | None] = {
    HeadersConfig: HeadersFilter,
    FlagsConfig: FlagsFilter,
    DedupConfig: None,
    SplitConfig: SplitFilter,
    MirrorConfig: MirrorFilter,
}
