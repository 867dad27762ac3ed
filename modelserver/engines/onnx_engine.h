// The instances of an ONNX model that is loaded: what onnxruntime.h says of runs.
#pragma once

#include <memory>
#include <vector>

#include "modelserver/execution/engine.h"
#include "modelserver/onnxruntime/session.h"
#include "proto/model_config.pb.h"

namespace inferpool::modelserver {

// A model that is loaded. Its engines share it.
struct OnnxModel {
  inference::ModelConfig config;
  std::unique_ptr<const ort::Session> session;
  bool row_by_row = false;
  // For each output of the configuration: whether its dims are what a trial run showed. They
  // usually hold, but nothing promises it.
  std::vector<bool> shown = {};
  // For each output: whether it is an input too. The runtime then never writes it.
  std::vector<bool> passed_through = {};
  // A kernel of the file decides by values of floating-point tensors what it reads and writes.
  bool decides_by_values = true;
};

// Whether tensors of this type are of floating point.
bool IsFloat(inference::DataType datatype);

// Makes one instance.
std::unique_ptr<Engine> MakeOnnxEngine(std::shared_ptr<const OnnxModel> model);

}  // namespace inferpool::modelserver
