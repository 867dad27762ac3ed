// Pass: writes x * Sigmoid(x) as one node, and Sigmoid as one that is faster than OpenCV's.
//
// Reason: OpenCV 4.6 has no SiLU in its ONNX importer. It runs two layers for it, the sigmoid one
// number at a time, which is a quarter of the time of a YOLOv8. A layer of our own (fast_layers.h)
// does eight at a time, inside the convolution before it: OpenCV fuses any activation layer.
// Condition: for SiLU, Mul has Sigmoid of its other operand as an operand, and nothing else uses
// the Sigmoid. For Sigmoid, none. The answers differ by rounding.
#pragma once

#include <onnx/onnx_pb.h>

#include <string_view>

namespace inferpool::modelserver::onnx_graph {

// The names of our layers, as operators of ONNX and as OpenCV's layer types.
inline constexpr std::string_view kSiluLayer = "InferpoolSilu";
inline constexpr std::string_view kSigmoidLayer = "InferpoolSigmoid";

void UseFastSigmoids(onnx::GraphProto& graph);

}  // namespace inferpool::modelserver::onnx_graph
