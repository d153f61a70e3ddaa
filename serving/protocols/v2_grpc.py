"""The Open Inference Protocol over gRPC.

The messages are those of Triton, which the protocol was taken from, in the package
of its client.
"""

from __future__ import annotations

from typing import Any

from tritonclient.grpc import service_pb2 as oip
from tritonclient.grpc import service_pb2_grpc

from serving.control import Control
from serving.errors import InvalidRequestError
from serving.off_loop import off_loop
from serving.protocols import numbers, v2
from serving.protocols.bearer import authorization
from serving.protocols.v2_rest import server_version
from serving.service import Query, Service

SERVICES = tuple(s.full_name for s in oip.DESCRIPTOR.services_by_name.values())


class InferenceService(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """Health, metadata, inference and the model repository."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._repository = service.repository

    async def ServerLive(self, request: Any, context: Any) -> Any:
        return oip.ServerLiveResponse(live=True)

    async def ServerReady(self, request: Any, context: Any) -> Any:
        return oip.ServerReadyResponse(ready=self._service.ready)

    async def ModelReady(self, request: Any, context: Any) -> Any:
        slots = self._repository.slots(request.name, v2.version_number(request.version))
        return oip.ModelReadyResponse(ready=any(s.state == "AVAILABLE" for s in slots))

    async def ServerMetadata(self, request: Any, context: Any) -> Any:
        return oip.ServerMetadataResponse(
            name=v2.SERVER_NAME, version=server_version(), extensions=v2.EXTENSIONS
        )

    async def ModelMetadata(self, request: Any, context: Any) -> Any:
        number = v2.version_number(request.version)
        with self._service.use(request.name, number) as loaded:
            described = v2.metadata(loaded, self._repository)
        del described["parameters"]  # the message has no place for them; ModelConfig does
        return oip.ModelMetadataResponse(**described)

    async def ModelConfig(self, request: Any, context: Any) -> Any:
        number = v2.version_number(request.version)
        with self._service.use(request.name, number) as loaded:
            return oip.ModelConfigResponse(config=v2.configuration(loaded))

    async def ModelInfer(self, request: Any, context: Any) -> Any:
        wanted = [v2.wanted(o.name, _classes(o)) for o in request.outputs]
        number = v2.version_number(request.model_version)
        at = request.model_name, number, None, context.time_remaining
        with self._service.admitted(), self._service.request(*at) as query:
            inputs = await off_loop(request.ByteSize(), _inputs, request, query)
            answer = await query.answer(v2.images_of(inputs), request.id)
            outputs = v2.outputs_of(answer, query.loaded, wanted)
        response = oip.ModelInferResponse(
            model_name=answer.name, model_version=str(answer.version), id=request.id
        )
        for tensor in outputs:
            response.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
            response.raw_output_contents.append(tensor.packed())
        return response

    async def RepositoryIndex(self, request: Any, context: Any) -> Any:
        return oip.RepositoryIndexResponse(models=v2.index(self._repository, request.ready))

    async def RepositoryModelLoad(self, request: Any, context: Any) -> Any:
        control = self._control(context)
        v2.check_load(request.parameters)
        await control.load(request.model_name)
        return oip.RepositoryModelLoadResponse()

    async def RepositoryModelUnload(self, request: Any, context: Any) -> Any:
        await self._control(context).unload(request.model_name)
        return oip.RepositoryModelUnloadResponse()

    def _control(self, context: Any) -> Control:
        control = self._service.control
        control.check(authorization(context.invocation_metadata()))
        return control


def add_services(server: Any, service: Service) -> None:
    """Adds the service to a gRPC server."""
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(InferenceService(service), server)


def _classes(output: Any) -> Any:
    """Returns the value of a requested output's parameter "classification"; None without."""
    if "classification" not in output.parameters:
        return None
    parameter = output.parameters["classification"]
    choice = parameter.WhichOneof("parameter_choice")
    return getattr(parameter, choice) if choice else None


def _inputs(request: Any, query: Query) -> list[v2.Tensor]:
    raw = list(request.raw_input_contents)
    if raw and len(raw) != len(request.inputs):
        raise InvalidRequestError(
            f"raw_input_contents: expected one for each of {len(request.inputs)} inputs, "
            f"got {len(raw)}."
        )
    tensors = []
    for index, tensor in enumerate(request.inputs):
        shape = tuple(tensor.shape)
        if raw and tensor.HasField("contents"):
            raise InvalidRequestError(
                f"{tensor.name}: expected its data in contents or in raw_input_contents, got both."
            )
        if raw:
            tensors.append(v2.from_raw(tensor.name, tensor.datatype, shape, raw[index]))
        elif tensor.datatype == "BYTES":
            query.check_count(len(tensor.contents.bytes_contents))
            values = list(tensor.contents.bytes_contents)
            tensors.append(v2.Tensor(tensor.name, "BYTES", shape, values))
        else:
            data = numbers.of_repeated(tensor.contents.uint_contents)
            tensors.append(v2.from_raw(tensor.name, tensor.datatype, shape, data))
    return tensors
