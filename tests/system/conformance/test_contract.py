"""The numbers on the wire: what other people's clients were compiled with."""

import unittest

from kserve import config_pb, pb

FIELDS = {
    "ServerLiveResponse": "live 1",
    "ServerReadyResponse": "ready 1",
    "ModelReadyRequest": "name 1, version 2",
    "ModelReadyResponse": "ready 1",
    "ServerMetadataResponse": "name 1, version 2, extensions 3",
    "ModelMetadataRequest": "name 1, version 2",
    "ModelMetadataResponse": "name 1, versions 2, platform 3, inputs 4, outputs 5",
    "ModelMetadataResponse.TensorMetadata": "name 1, datatype 2, shape 3",
    "ModelInferRequest": "model_name 1, model_version 2, id 3, parameters 4, inputs 5, outputs 6, "
                         "raw_input_contents 7",
    "ModelInferRequest.InferInputTensor": "name 1, datatype 2, shape 3, parameters 4, contents 5",
    "ModelInferRequest.InferRequestedOutputTensor": "name 1, parameters 2",
    "ModelInferResponse": "model_name 1, model_version 2, id 3, parameters 4, outputs 5, "
                          "raw_output_contents 6",
    "ModelInferResponse.InferOutputTensor": "name 1, datatype 2, shape 3, parameters 4, contents 5",
    "ModelStreamInferResponse": "error_message 1, infer_response 2",
    "InferParameter": "bool_param 1, int64_param 2, string_param 3, double_param 4, "
                      "uint64_param 5",
    "InferTensorContents": "bool_contents 1, int_contents 2, int64_contents 3, uint_contents 4, "
                           "uint64_contents 5, fp32_contents 6, fp64_contents 7, bytes_contents 8",
    "ModelConfigRequest": "name 1, version 2",
    "ModelConfigResponse": "config 1",
    "ModelStatisticsRequest": "name 1, version 2",
    "ModelStatisticsResponse": "model_stats 1",
    "ModelStatistics": "name 1, version 2, last_inference 3, inference_count 4, "
                       "execution_count 5, inference_stats 6, batch_stats 7",
    "InferStatistics": "success 1, fail 2, queue 3, compute_input 4, compute_infer 5, "
                       "compute_output 6, cache_hit 7, cache_miss 8",
    "StatisticDuration": "count 1, ns 2",
    "InferBatchStatistics": "batch_size 1, compute_input 2, compute_infer 3, compute_output 4",
    "RepositoryIndexRequest": "repository_name 1, ready 2",
    "RepositoryIndexResponse": "models 1",
    "RepositoryIndexResponse.ModelIndex": "name 1, version 2, state 3, reason 4",
    "RepositoryModelLoadRequest": "repository_name 1, model_name 2, parameters 3",
    "RepositoryModelUnloadRequest": "repository_name 1, model_name 2, parameters 3",
    "ModelRepositoryParameter": "bool_param 1, int64_param 2, string_param 3, bytes_param 4",
    "SystemSharedMemoryRegisterRequest": "name 1, key 2, offset 3, byte_size 4",
    "SystemSharedMemoryStatusRequest": "name 1",
    "SystemSharedMemoryStatusResponse": "regions 1",
    "SystemSharedMemoryStatusResponse.RegionStatus": "name 1, key 2, offset 3, byte_size 4",
    "SystemSharedMemoryUnregisterRequest": "name 1",
    "CudaSharedMemoryStatusRequest": "name 1",
    "CudaSharedMemoryStatusResponse": "regions 1",
    "CudaSharedMemoryStatusResponse.RegionStatus": "name 1, device_id 2, byte_size 3",
    "CudaSharedMemoryRegisterRequest": "name 1, raw_handle 2, device_id 3, byte_size 4",
    "CudaSharedMemoryUnregisterRequest": "name 1",
    "TraceSettingRequest": "settings 1, model_name 2",
    "TraceSettingRequest.SettingValue": "value 1",
    "TraceSettingResponse": "settings 1",
    "TraceSettingResponse.SettingValue": "value 1",
}

CONFIG_FIELDS = {
    "ModelConfig": "name 1, platform 2, version_policy 3, max_batch_size 4, input 5, output 6, "
                   "instance_group 7, dynamic_batching 11, parameters 14, ensemble_scheduling 15, "
                   "model_warmup 16, backend 17, model_operations 18, batch_input 20, "
                   "batch_output 21, model_repository_agents 23, response_cache 24, "
                   "model_metrics 26",
    "ModelVersionPolicy": "latest 1, all 2, specific 3",
    "ModelInput": "name 1, data_type 2, format 3, dims 4, reshape 5, allow_ragged_batch 7, "
                  "optional 8, is_non_linear_format_io 9",
    "ModelOutput": "name 1, data_type 2, dims 3, label_filename 4, is_non_linear_format_io 7",
    "BatchInput": "kind 1, target_name 2, data_type 3, source_input 4",
    "BatchOutput": "target_name 1, kind 2, source_input 3",
    "ModelOperations": "op_library_filename 1",
    "ModelRepositoryAgents": "agents 1",
    "ModelRepositoryAgents.Agent": "name 1, parameters 2",
    "ModelMetrics": "metric_control 1",
    "ModelMetrics.MetricControl": "metric_identifier 1, histogram_options 2",
    "ModelEnsembling.Step": "model_name 1, model_version 2, input_map 3, output_map 4, "
                            "model_namespace 5",
    "ModelInstanceGroup": "name 1, count 2, gpus 3, kind 4",
    "ModelDynamicBatching": "preferred_batch_size 1, max_queue_delay_microseconds 2, "
                            "preserve_ordering 3, priority_levels 4, default_priority_level 5, "
                            "default_queue_policy 6, priority_queue_policy 7",
    "ModelQueuePolicy": "timeout_action 1, default_timeout_microseconds 2, "
                        "allow_timeout_override 3, max_queue_size 4",
    "ModelWarmup": "name 1, batch_size 2, inputs 3, count 4",
    "ModelResponseCache": "enable 1",
}

METHODS = {
    "ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer",
    "ModelStreamInfer", "ModelConfig", "ModelStatistics", "RepositoryIndex", "RepositoryModelLoad",
    "RepositoryModelUnload", "SystemSharedMemoryStatus", "SystemSharedMemoryRegister",
    "SystemSharedMemoryUnregister", "CudaSharedMemoryStatus", "CudaSharedMemoryRegister",
    "CudaSharedMemoryUnregister", "TraceSetting", "LogSettings",
}


class ContractTest(unittest.TestCase):
    def check(self, messages, expected):
        for name, fields in expected.items():
            outer, *inner = name.split(".")
            message = messages.DESCRIPTOR.message_types_by_name[outer]
            for part in inner:
                message = message.nested_types_by_name[part]
            for field in fields.split(", "):
                field_name, number = field.split(" ")
                with self.subTest(message=name, field=field_name):
                    self.assertEqual(int(number), message.fields_by_name[field_name].number)

    def test_the_services_messages(self):
        self.check(pb, FIELDS)

    def test_the_configurations_messages(self):
        self.check(config_pb, CONFIG_FIELDS)

    def test_the_service(self):
        service = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"]
        self.assertEqual("inference.GRPCInferenceService", service.full_name)
        self.assertLessEqual(METHODS, {method.name for method in service.methods})

    def test_the_datatypes_of_configurations(self):
        names = ("INVALID", "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32",
                 "INT64", "FP16", "FP32", "FP64", "STRING", "BF16")
        self.assertEqual({f"TYPE_{name}": number for number, name in enumerate(names)},
                         dict(config_pb.DataType.items()))


if __name__ == "__main__":
    unittest.main()
