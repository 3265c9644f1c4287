"""Which units of a plan are not done, without asking a million times for what is known."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen import storage
from dentgen.documents.units import unit_name
from dentgen.shards.ledger import committed_units, ledger_url
from dentgen.shards.plan import Plan
from dentgen.shards.seals import newest_sealed
from dentgen.shards.unit_table import UnitTable

_THREADS: Final = 16
#: Units up to which the whole ledger is listed: a store lists a thousand names with a request.
_LISTED: Final = 20_000
#: Names that a listing gives in the time in which one unit is asked for by its name.
_NAMES_A_QUESTION: Final = 12


def pending_units(out: str, plan: Plan) -> NDArray[np.int64]:
    """Numbers of the units that have no commit record, in order.

    All units of a sealed version were done when it was sealed. In builds of many units they are not looked at again:
    only the others are, by name if they are few beside the whole ledger.

    Args:
        out: The build.
        plan: Its plan.

    Raises:
        StorageError: If the storage cannot be reached.
    """
    units = plan.units
    if len(units) > _LISTED:
        sealed = newest_sealed(out)
        if sealed is not None:
            units = units.between(plan.firsts[sealed + 1], plan.total_units) if sealed < plan.segment else UnitTable()
        if len(units) * _NAMES_A_QUESTION < plan.total_units:
            return _without_record(out, units.ids)
    names = (name for name in committed_units(out) if name.isdecimal())
    return units.ids[~np.isin(units.ids, np.fromiter(map(int, names), np.int64))]


def _without_record(out: str, units: NDArray[np.int64]) -> NDArray[np.int64]:
    """Units whose record is not there, asked for one by one."""
    with ThreadPoolExecutor(_THREADS) as pool:
        found = pool.map(lambda unit: storage.exists(ledger_url(out, unit_name(unit))), units.tolist())
        return units[~np.fromiter(found, np.bool_, len(units))]
