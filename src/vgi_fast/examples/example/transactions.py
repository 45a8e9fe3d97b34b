"""What the calls of one transaction share: a value that is found once and stays until COMMIT or ROLLBACK."""

from typing import Annotated, Any, Final

from vgi_fast import Arg, BindParams, BindResponse, OutputCollector, ProcessParams, TableFunctionGenerator

NUMBER_BYTES: Final = 8


class Arguments:
    key: Annotated[str, Arg(0, doc="Name of the value")]
    seed: Annotated[int, Arg(1, doc="The value, unless the transaction has one already")]

    def __init__(self, key: str, seed: int) -> None:
        self.key = key
        self.seed = seed


class TxCachedValue(TableFunctionGenerator[Arguments]):
    """The first seed that a transaction gave for a key"""

    @classmethod
    def on_bind(cls, params: BindParams[Arguments]) -> BindResponse:
        """The value travels with the bind: the stream may start in another process."""
        value = params.args.seed.to_bytes(NUMBER_BYTES, "little", signed=True)
        shared = params.transaction_storage
        if shared is not None:
            key = b"tx_cached_value/" + params.args.key.encode()
            known = shared.get_one(key)
            if known is None:
                shared.put_one(key, value)
            else:
                value = known
        return BindResponse({"v": "int64"}, opaque_data=value)

    @classmethod
    def cardinality(cls, params: BindParams[Arguments]) -> int:
        return 1

    @classmethod
    def initial_state(cls, params: ProcessParams[Arguments]) -> list[int]:
        assert params.bind_opaque_data is not None
        return [int.from_bytes(params.bind_opaque_data, "little", signed=True)]

    @classmethod
    def process(cls, params: ProcessParams[Arguments], state: Any, out: OutputCollector) -> None:
        if not state:
            return out.finish()
        out.emit({"v": [state.pop()]})
        return None


FUNCTIONS: Final = [TxCachedValue]
