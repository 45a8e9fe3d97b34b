"""vgi_fast: workers for DuckDB's VGI protocol.

    from vgi_fast import Int64, Worker

    worker = Worker("demo")

    @worker.scalar
    def add_one(x: Int64) -> Int64:
        return x + 1

    worker.run()
"""

from vgi_fast.catalog.descriptors import Catalog, CatalogSchema, SecretType, SettingSpec
from vgi_fast.errors import (
    ArgumentError,
    ArgumentValidationError,
    DefinitionError,
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
from vgi_fast.functions.aggregate import AggregateFunction
from vgi_fast.functions.aggregate_context import AggregateBindParams, AggregateParams, WindowPartition
from vgi_fast.functions.aggregate_declared import aggregate
from vgi_fast.functions.context import (
    Arguments,
    BindParams,
    BindResponse,
    CallerIdentity,
    ClientLog,
    GlobalInitResponse,
    InitParams,
    Level,
    ProcessParams,
    Projection,
    TableCardinality,
)
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
from vgi_fast.functions.output import OutputCollector
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
from vgi_fast.functions.secrets import SecretsAccessor, SecretValues
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
from vgi_fast.worker.worker import Worker

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
    "Auth",
    "Binary",
    "BindParams",
    "BindResponse",
    "Bool",
    "CallerIdentity",
    "Catalog",
    "CatalogSchema",
    "ClientLog",
    "Const",
    "ConstParam",
    "DataType",
    "Date",
    "DefinitionError",
    "Field",
    "Float32",
    "Float64",
    "FunctionExample",
    "GlobalInitResponse",
    "InitParams",
    "Int8",
    "Int16",
    "Int32",
    "Int64",
    "InternalError",
    "Level",
    "MethodNotImplementedError",
    "MonthDayNano",
    "OutputCollector",
    "OutputLength",
    "Param",
    "ProcessParams",
    "Projection",
    "ProtocolError",
    "ProtocolVersionError",
    "RecordBatch",
    "RemoteError",
    "Returns",
    "RowCountMismatchError",
    "ScalarFunction",
    "Schema",
    "SchemaValidationError",
    "Secret",
    "SecretType",
    "SecretValues",
    "SecretsAccessor",
    "Setting",
    "SettingSpec",
    "StorageError",
    "TableCardinality",
    "TableFunction",
    "TableFunctionGenerator",
    "TableInput",
    "Timestamp",
    "TransportError",
    "TypeMismatchError",
    "UInt8",
    "UInt16",
    "UInt32",
    "UInt64",
    "UnionValue",
    "Utf8",
    "VersionError",
    "VgiError",
    "WindowPartition",
    "Worker",
    "aggregate",
    "bind_fixed_schema",
    "init_single_worker",
    "scalar",
    "table",
]
