"""vgi_fast: workers for DuckDB's VGI protocol.

from vgi_fast import Int64, Worker

worker = Worker("demo")

@worker.scalar
def add_one(x: Int64) -> Int64:
    return x + 1

worker.run()
"""

from typing import TYPE_CHECKING, Any

from vgi_fast.catalog.descriptors import Catalog, CatalogSchema
from vgi_fast.catalog.interface import AttachResult, CatalogContext, CatalogInterface
from vgi_fast.catalog.readonly import ReadOnlyCatalogInterface
from vgi_fast.catalog.specs import AttachOption, CompanionCatalog, Release, SecretType, SettingSpec
from vgi_fast.errors import (
    ArgumentError,
    ArgumentValidationError,
    CatalogReadOnlyError,
    DefinitionError,
    FilterError,
    InternalError,
    MethodNotImplementedError,
    ProtocolError,
    ProtocolVersionError,
    RemoteError,
    RowCountMismatchError,
    SchemaValidationError,
    StorageError,
    TransportError,
    TypeMismatchError,
    VersionError,
    VgiError,
)
from vgi_fast.functions.context import (
    Arguments,
    BindParams,
    BindResponse,
    CallerIdentity,
    ClientLog,
    ExecutionParams,
    GlobalInitResponse,
    InitParams,
    Level,
    OrderHint,
    ProcessParams,
    Projection,
    SampleHint,
    TableCardinality,
    WriteOptions,
)
from vgi_fast.functions.emission import Emit
from vgi_fast.functions.markers import (
    AnyColumn,
    Binary,
    Bool,
    Const,
    Date,
    Float32,
    Float64,
    Int8,
    Int16,
    Int32,
    Int64,
    Timestamp,
    UInt8,
    UInt16,
    UInt32,
    UInt64,
    Utf8,
)
from vgi_fast.functions.parameters import (
    AnyArrow,
    AnyArrowValue,
    Arg,
    Auth,
    ConstParam,
    OutputLength,
    Param,
    Returns,
    Secret,
    Setting,
    TableInput,
)
from vgi_fast.functions.scalar import ScalarFunction, scalar
from vgi_fast.functions.spec import FunctionExample
from vgi_fast.functions.table import (
    TableFunction,
    TableFunctionGenerator,
    bind_fixed_schema,
    init_single_worker,
    table,
)
from vgi_fast.values import MonthDayNano, UnionValue
from vgi_fast.wire.arrow import Array, DataType, Field, RecordBatch, Schema
from vgi_fast.wire.attach import AttachData
from vgi_fast.worker.worker import Worker

if TYPE_CHECKING:
    from vgi_fast.catalog.literals import Sql
    from vgi_fast.catalog.macros import Macro
    from vgi_fast.catalog.objects import ForeignKeyDef, Index, Table, View
    from vgi_fast.catalog.scans import CallArguments, ScanBranch, ScanBranches, ScanFunction
    from vgi_fast.functions.aggregates.context import AggregateBindParams, AggregateParams, WindowPartition
    from vgi_fast.functions.aggregates.declaration import AggregateFunction
    from vgi_fast.functions.aggregates.declared import aggregate
    from vgi_fast.functions.caching import CacheControl
    from vgi_fast.functions.exchange import TableWriteFunction
    from vgi_fast.functions.filters.nodes import Bounds, PushdownFilters
    from vgi_fast.functions.gathered_statistics import statistics_from_arrow, statistics_from_duckdb
    from vgi_fast.functions.output import ExchangeCollector, OutputCollector, RowsOf
    from vgi_fast.functions.over_tables.buffering import BufferingParams, TableBufferingFunction, table_buffering
    from vgi_fast.functions.over_tables.copying import CopyFromFunction, CopyToFunction, copy_from, copy_to, replacing
    from vgi_fast.functions.over_tables.inout import TableInOutFunction, TableInOutGenerator, table_in_out
    from vgi_fast.functions.over_tables.row_transform import RowTransformFunction, row_transform
    from vgi_fast.functions.partitions import partition_field, row_id_field
    from vgi_fast.functions.secrets import SecretsAccessor, SecretValues
    from vgi_fast.functions.statistics import ColumnStatistics, ColumnStatisticsInput, encode_statistics
    from vgi_fast.sources.base import ScanRequest, Source
    from vgi_fast.sources.data import data_table
    from vgi_fast.sources.sql import SqlAlchemyCatalog

__version__ = "0.1.0"

__all__ = [
    "AggregateBindParams",
    "AggregateFunction",
    "AggregateParams",
    "AnyArrow",
    "AnyArrowValue",
    "AnyColumn",
    "Arg",
    "ArgumentError",
    "ArgumentValidationError",
    "Arguments",
    "Array",
    "AttachData",
    "AttachOption",
    "AttachResult",
    "Auth",
    "Binary",
    "BindParams",
    "BindResponse",
    "Bool",
    "Bounds",
    "BufferingParams",
    "CacheControl",
    "CallArguments",
    "CallerIdentity",
    "Catalog",
    "CatalogContext",
    "CatalogInterface",
    "CatalogReadOnlyError",
    "CatalogSchema",
    "ClientLog",
    "ColumnStatistics",
    "ColumnStatisticsInput",
    "CompanionCatalog",
    "Const",
    "ConstParam",
    "CopyFromFunction",
    "CopyToFunction",
    "DataType",
    "Date",
    "DefinitionError",
    "Emit",
    "ExchangeCollector",
    "ExecutionParams",
    "Field",
    "FilterError",
    "Float32",
    "Float64",
    "ForeignKeyDef",
    "FunctionExample",
    "GlobalInitResponse",
    "Index",
    "InitParams",
    "Int16",
    "Int32",
    "Int64",
    "Int8",
    "InternalError",
    "Level",
    "Macro",
    "MethodNotImplementedError",
    "MonthDayNano",
    "OrderHint",
    "OutputCollector",
    "OutputLength",
    "Param",
    "ProcessParams",
    "Projection",
    "ProtocolError",
    "ProtocolVersionError",
    "PushdownFilters",
    "ReadOnlyCatalogInterface",
    "RecordBatch",
    "Release",
    "RemoteError",
    "Returns",
    "RowCountMismatchError",
    "RowTransformFunction",
    "RowsOf",
    "SampleHint",
    "ScalarFunction",
    "ScanBranch",
    "ScanBranches",
    "ScanFunction",
    "ScanRequest",
    "Schema",
    "SchemaValidationError",
    "Secret",
    "SecretType",
    "SecretValues",
    "SecretsAccessor",
    "Setting",
    "SettingSpec",
    "Source",
    "Sql",
    "SqlAlchemyCatalog",
    "StorageError",
    "Table",
    "TableBufferingFunction",
    "TableCardinality",
    "TableFunction",
    "TableFunctionGenerator",
    "TableInOutFunction",
    "TableInOutGenerator",
    "TableInput",
    "TableWriteFunction",
    "Timestamp",
    "TransportError",
    "TypeMismatchError",
    "UInt16",
    "UInt32",
    "UInt64",
    "UInt8",
    "UnionValue",
    "Utf8",
    "VersionError",
    "VgiError",
    "View",
    "WindowPartition",
    "Worker",
    "WriteOptions",
    "aggregate",
    "bind_fixed_schema",
    "copy_from",
    "copy_to",
    "data_table",
    "encode_statistics",
    "init_single_worker",
    "partition_field",
    "replacing",
    "row_id_field",
    "row_transform",
    "scalar",
    "statistics_from_arrow",
    "statistics_from_duckdb",
    "table",
    "table_buffering",
    "table_in_out",
]

_LATER = {
    "functions.aggregates.context": ("AggregateBindParams", "AggregateParams", "WindowPartition",),
    "functions.aggregates.declaration": ("AggregateFunction",),
    "functions.aggregates.declared": ("aggregate",),
    "functions.caching": ("CacheControl",),
    "functions.filters.nodes": ("Bounds", "PushdownFilters",),
    "functions.output": ("ExchangeCollector", "OutputCollector", "RowsOf",),
    "functions.over_tables.buffering": ("BufferingParams", "TableBufferingFunction", "table_buffering",),
    "functions.over_tables.copying": ("CopyFromFunction", "CopyToFunction", "copy_from", "copy_to", "replacing",),
    "functions.over_tables.inout": ("TableInOutFunction", "TableInOutGenerator", "table_in_out",),
    "functions.over_tables.row_transform": ("RowTransformFunction", "row_transform",),
    "functions.secrets": ("SecretsAccessor", "SecretValues",),
    "functions.statistics": ("ColumnStatistics", "ColumnStatisticsInput", "encode_statistics",),
    "functions.partitions": ("partition_field", "row_id_field",),
    "catalog.literals": ("Sql",),
    "catalog.macros": ("Macro",),
    "catalog.objects": ("ForeignKeyDef", "Index", "Table", "View"),
    "catalog.scans": ("CallArguments", "ScanBranch", "ScanBranches", "ScanFunction"),
    "functions.gathered_statistics": ("statistics_from_arrow", "statistics_from_duckdb"),
    "functions.exchange": ("TableWriteFunction",),
    "sources.base": ("ScanRequest", "Source"),
    "sources.data": ("data_table",),
    "sources.sql": ("SqlAlchemyCatalog",),
}


def __getattr__(name: str) -> Any:
    """What not every worker needs is imported when it is named."""
    for module, names in _LATER.items():
        if name in names:
            from importlib import import_module

            found = globals()[name] = getattr(import_module(f"{__name__}.{module}"), name)
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
