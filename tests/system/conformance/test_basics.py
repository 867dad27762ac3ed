"""What a client asks before its first inference, and answers' envelopes."""

import unittest

import grpc
import numpy as np

from kserve import Client, config_pb, health_pb, infer_request, output_arrays, pb
from serving import Server, ServerTest, add_sub, eventually, identity

MODELS = {
    "simple": (add_sub(), (1,)),
    "simple_string": add_sub("BYTES"),
    "flat": identity("FP32", (3, -1)),
    "two": (identity(more="version_policy { all {} }"), (1, 3)),
    "some": (identity(more="version_policy { specific { versions: [ 1, 3 ] } }"), (1, 2)),
    "broken": 'backend: "identity" no such field',
}


class ServerTests(ServerTest):
    MODELS = MODELS

    def test_it_is_live_and_ready(self):
        self.assertTrue(self.client.ServerLive(pb.ServerLiveRequest()).live)
        self.assertTrue(self.client.ServerReady(pb.ServerReadyRequest()).ready)

    def test_metadata_of_the_server(self):
        metadata = self.client.ServerMetadata(pb.ServerMetadataRequest())
        self.assertEqual("triton", metadata.name)
        self.assertRegex(metadata.version, r"^\d+\.\d+")
        self.assertEqual({"classification", "model_repository",
                          "model_repository(unload_dependents)", "schedule_policy",
                          "model_configuration", "system_shared_memory", "parameters",
                          "statistics", "logging"}, set(metadata.extensions))

    def test_models_are_ready_or_not(self):
        self.assertTrue(self.client.is_ready("simple"))
        self.assertTrue(self.client.is_ready("simple", "1"))
        self.assertFalse(self.client.is_ready("simple", "2"))
        self.assertFalse(self.client.is_ready("broken"))
        self.assertFalse(self.client.is_ready("nobody"))

    def test_metadata_of_a_model_that_batches(self):
        metadata = self.client.ModelMetadata(pb.ModelMetadataRequest(name="simple"))
        self.assertEqual("simple", metadata.name)
        self.assertEqual(["1"], list(metadata.versions))
        self.assertTrue(metadata.platform)
        for tensors, names in ((metadata.inputs, ["INPUT0", "INPUT1"]),
                               (metadata.outputs, ["OUTPUT0", "OUTPUT1"])):
            self.assertEqual(names, [tensor.name for tensor in tensors])
            self.assertEqual({"INT32"}, {tensor.datatype for tensor in tensors})
            self.assertEqual([[-1, 16]] * 2, [list(tensor.shape) for tensor in tensors])

    def test_metadata_of_a_model_that_does_not_batch(self):
        metadata = self.client.ModelMetadata(pb.ModelMetadataRequest(name="flat", version="1"))
        self.assertEqual([3, -1], list(metadata.inputs[0].shape))
        self.assertEqual("FP32", metadata.inputs[0].datatype)

    def test_bytes_are_called_bytes(self):
        metadata = self.client.ModelMetadata(pb.ModelMetadataRequest(name="simple_string"))
        self.assertEqual("BYTES", metadata.inputs[0].datatype)

    def test_metadata_lists_all_versions(self):
        metadata = self.client.ModelMetadata(pb.ModelMetadataRequest(name="two"))
        self.assertEqual(["1", "3"], sorted(metadata.versions))

    def test_metadata_of_one_version_lists_that_one(self):
        metadata = self.client.ModelMetadata(pb.ModelMetadataRequest(name="two", version="1"))
        self.assertEqual(["1"], list(metadata.versions))

    def test_configuration(self):
        config = self.client.config("simple")
        self.assertEqual("simple", config.name)
        self.assertEqual("add_sub", config.backend)
        self.assertEqual(8, config.max_batch_size)
        self.assertEqual([16], list(config.input[0].dims))
        self.assertEqual(["OUTPUT0", "OUTPUT1"], [output.name for output in config.output])

    def test_configurations_say_what_they_leave_to_defaults(self):
        config = self.client.config("simple")
        self.assertEqual(1, config.version_policy.latest.num_versions)
        (group,) = config.instance_group
        self.assertEqual(("simple", 1, config_pb.ModelInstanceGroup.KIND_CPU),
                         (group.name, group.count, group.kind))
        self.assertTrue(self.client.config("two").version_policy.HasField("all"))

    def test_specific_versions_without_a_folder_are_left_out(self):
        self.assertEqual({("some", "1"): "READY"},
                         {key: entry.state for key, entry in self.client.index().items()
                          if key[0] == "some"})
        warnings = [line for line in self.server.log()
                    if line.get("model") == "some" and line.get("level") == "warning"]
        self.assertIn("3", warnings[0]["versions"])

    def test_the_index_names_everything_and_why(self):
        index = self.client.index()
        self.assertEqual("READY", index["simple", "1"].state)
        self.assertEqual({"1", "3"}, {version for name, version in index if name == "two"})
        (broken,) = [entry for (name, _), entry in index.items() if name == "broken"]
        self.assertEqual("UNAVAILABLE", broken.state)
        self.assertIn("config.pbtxt", broken.reason)

    def test_the_index_of_the_ready(self):
        names = {name for name, _ in self.client.index(ready=True)}
        self.assertEqual({"simple", "simple_string", "flat", "two", "some"}, names)

    def test_what_is_not_offered_says_so(self):
        # A C++ client of Triton's takes an error without a text for success.
        for service, method, text in (
                ("inference.GRPCInferenceService", "CudaSharedMemoryRegister", "CUDA shared memory"),
                ("inference.GRPCInferenceService", "TraceSetting", "tracing"),
                ("inference.GRPCInferenceService", "NoSuchThing", ""),
                ("no.such.Service", "Ever", "")):
            with self.subTest(method):
                self.assert_error(grpc.StatusCode.UNIMPLEMENTED, text,
                                  self.client.channel.unary_unary(f"/{service}/{method}"), b"")

    def test_there_is_no_cuda_region(self):
        # Clients unregister before they use shared memory of any kind.
        for name in ("", "some"):
            self.client.CudaSharedMemoryUnregister(pb.CudaSharedMemoryUnregisterRequest(name=name))
        status = self.client.CudaSharedMemoryStatus(pb.CudaSharedMemoryStatusRequest())
        self.assertEqual({}, dict(status.regions))
        self.assert_error(grpc.StatusCode.NOT_FOUND, "some", self.client.CudaSharedMemoryStatus,
                          pb.CudaSharedMemoryStatusRequest(name="some"))

    def test_the_log_settings_can_be_read(self):
        settings = self.client.LogSettings(pb.LogSettingsRequest()).settings
        self.assertTrue(settings["log_error"].bool_param)
        self.assertLessEqual({"log_info", "log_warning", "log_verbose_level"}, set(settings))


class HealthTests(ServerTest):
    MODELS = {"simple": add_sub()}

    SERVING = health_pb.HealthCheckResponse.SERVING

    def test_check(self):
        for service in ("", "inference.GRPCInferenceService"):
            with self.subTest(service):
                request = health_pb.HealthCheckRequest(service=service)
                self.assertEqual(self.SERVING, self.client.Check(request).status)

    def test_check_of_a_stranger(self):
        self.assert_error(grpc.StatusCode.NOT_FOUND, "", self.client.Check,
                          health_pb.HealthCheckRequest(service="no.such.Service"))

    def test_watch_tells_the_state_and_its_end(self):
        server = Server({"simple": add_sub()})
        self.addCleanup(server.destroy)
        watch = server.client.Watch(health_pb.HealthCheckRequest(), timeout=60)
        self.assertEqual(self.SERVING, next(watch).status)
        server.process.terminate()
        try:
            self.assertEqual(health_pb.HealthCheckResponse.NOT_SERVING, next(watch).status)
        except grpc.RpcError as error:
            self.assertIn(error.code(), (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED))
        watch.cancel()
        server.client.close()
        self.assertEqual(0, server.process.wait(60))

    def test_it_serves_when_it_is_ready_and_not_before(self):
        server = self.start({"slow": identity(delay_ms=700, more="""
            model_warmup { name: "one" inputs { key: "INPUT0" value {
                data_type: TYPE_INT32 dims: 1 zero_data: true } } }""")}, wait_ready=False)
        client = server.client
        self.assert_alive(client)
        self.assertFalse(client.ServerReady(pb.ServerReadyRequest()).ready)
        self.assertEqual(health_pb.HealthCheckResponse.NOT_SERVING,
                         client.Check(health_pb.HealthCheckRequest()).status)
        self.assertEqual("LOADING", client.index()["slow", "1"].state)
        server.wait_ready()
        eventually(lambda: client.Check(health_pb.HealthCheckRequest()).status == self.SERVING,
                   "it serves")


class OptionTests(ServerTest):
    def test_the_servers_name(self):
        client = self.start({}, "--id", "mine").client
        self.assertEqual("mine", client.ServerMetadata(pb.ServerMetadataRequest()).name)

    def test_the_largest_message(self):
        client = self.start({"echo": identity("UINT8")}, "--max-message-mb", "1").client
        for size, code in ((1_000_000, None), (1_100_000, grpc.StatusCode.RESOURCE_EXHAUSTED)):
            call = client.ModelInfer.future(
                infer_request("echo", {"INPUT0": np.zeros(size, np.uint8)}))
            self.assertEqual(code, call.exception(60) and call.exception(60).code())


class EnvelopeTests(ServerTest):
    MODELS = MODELS

    SUM = {"INPUT0": np.arange(16, dtype=np.int32).reshape(1, 16),
           "INPUT1": np.ones((1, 16), dtype=np.int32)}

    def test_an_answer_says_who_and_what(self):
        response = self.client.ModelInfer(infer_request("simple", self.SUM, id="my id 7"))
        self.assertEqual(("simple", "1", "my id 7"),
                         (response.model_name, response.model_version, response.id))
        self.assertEqual(["OUTPUT0", "OUTPUT1"], [output.name for output in response.outputs])
        self.assertEqual({"INT32"}, {output.datatype for output in response.outputs})
        self.assertEqual([1, 16], list(response.outputs[0].shape))

    def test_no_id_stays_no_id(self):
        self.assertEqual("", self.client.ModelInfer(infer_request("simple", self.SUM)).id)

    def test_the_latest_version_answers_unless_one_is_named(self):
        array = {"INPUT0": np.zeros(1, np.int32)}
        for asked, version in (("", "3"), ("1", "1"), ("3", "3")):
            response = self.client.ModelInfer(infer_request("two", array, version=asked))
            self.assertEqual(version, response.model_version)

    def test_parameters_that_mean_nothing_here_do_no_harm(self):
        parameters = {"a": True, "b": 1, "c": "x", "d": 1.5, "timeout": 60_000_000, "priority": 3,
                      "sequence_id": 7, "sequence_start": True, "sequence_end": False,
                      "triton_enable_empty_final_response": True}
        response = self.client.ModelInfer(infer_request("simple", self.SUM, parameters=parameters))
        self.assertEqual(1, output_arrays(response)["OUTPUT0"][0, 0])

    def test_two_channels_see_the_same(self):
        other = Client(self.server.address)
        self.addCleanup(other.close)
        self.assertEqual(self.client.index(), other.index())


if __name__ == "__main__":
    unittest.main()
