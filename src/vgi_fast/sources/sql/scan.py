"""The table function that reads from a database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vgi_fast.errors import ProtocolError
from vgi_fast.functions import annotations as ann
from vgi_fast.functions.batches import BatchShaper
from vgi_fast.functions.context import GlobalInitResponse, TableCardinality
from vgi_fast.functions.output import GeneratorProducer
from vgi_fast.functions.signature import BY_KEYWORD, POSITIONAL, Parameter, Signature, Slot
from vgi_fast.functions.spec import BindOutcome, FunctionOptions, FunctionSpec
from vgi_fast.functions.table import TableSpec
from vgi_fast.sources.sql.plan import TablePlan
from vgi_fast.sources.sql.where import conditions, first_rows
from vgi_fast.wire.arrow import type_named

if TYPE_CHECKING:
    import sqlalchemy as sa

    from vgi_fast.functions.context import BindParams, ProcessParams
    from vgi_fast.functions.output import Producer
    from vgi_fast.sources.sql.catalog import SqlAlchemyCatalog

__all__ = ["PLAN", "SqlScan", "select"]

PLAN = "plan"


class SqlScan(TableSpec):
    """Reads what a query wants of one table. Bind needs no connection: its columns are in the argument."""

    __slots__ = ("catalog",)

    def __init__(self, catalog: SqlAlchemyCatalog, name: str) -> None:
        where = f"table function '{name}'"
        plan = Parameter(PLAN, POSITIONAL, type_named("utf8"), ann.VALUE)
        options = {
            "projection_pushdown": True,
            "filter_pushdown": True,
            "auto_apply_filters": True,
            "order_preservation": "NO_ORDER_GUARANTEE",
            "description": "Rows of a table of the database",
        }
        signature = Signature([Slot(PLAN, BY_KEYWORD, plan)], where)
        FunctionSpec.__init__(self, name, signature, FunctionOptions(where, options), catalog, where)
        self.owner = None
        self.args_class = None
        self.hooks = {}
        self.columns_hook = None
        self.fixed_schema = None
        self.catalog = catalog

    def bind(self, params: BindParams[Any]) -> BindOutcome:
        return BindOutcome(TablePlan.decode(params.args[PLAN]).schema)

    def cardinality(self, params: BindParams[Any]) -> TableCardinality:
        return TableCardinality()

    def start(self, params: ProcessParams[Any], values: dict[str, Any]) -> tuple[GlobalInitResponse, Producer]:
        plan = TablePlan.decode(values[PLAN])
        if params.is_secondary:
            raise ProtocolError(f"{plan.where} has one worker; it cannot serve a secondary stream")
        shaper = BatchShaper(params.output_schema, plan.where)
        dialect = self.catalog.dialect_name
        statement = select(plan, params.output_schema.names, conditions(plan, params.stream_filters.static, dialect))
        batches = self.catalog.scan(params, plan, first_rows(plan, params.order_by, dialect, statement))
        return GlobalInitResponse(), GeneratorProducer(iter(batches), shaper, self._emission(params))


def select(plan: TablePlan, columns: list[str], where: list[sa.ColumnElement[bool]]) -> sa.Select[Any]:
    """The columns in this order and nothing else."""
    import sqlalchemy as sa

    wanted = [plan.read(name).label(name) for name in columns]
    return sa.select(*wanted).select_from(plan.table).where(*where)
