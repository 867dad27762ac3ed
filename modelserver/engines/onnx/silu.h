// Pass: replaces x * Sigmoid(x) by one node, and Sigmoid by one that is faster than OpenCV's.
//
// Reason: OpenCV 4.6 has no SiLU in its ONNX importer. It runs two layers for it and computes the
// sigmoid one number at a time, which takes a quarter of the time of a YOLOv8. Our own layer
// (fast_layers.h) computes eight at a time, within the convolution before it, because OpenCV fuses
// any activation layer. Condition: for SiLU, an operand of Mul is Sigmoid of the other one, and
// nothing else uses the Sigmoid. For Sigmoid there is no condition. The answers differ by rounding.
#pragma once

#include <onnx/onnx_pb.h>

#include <string_view>

namespace inferpool::modelserver::onnx_graph {

// The names of our layers, as operators of ONNX and as OpenCV's layer types.
inline constexpr std::string_view kSiluLayer = "InferpoolSilu";
inline constexpr std::string_view kSigmoidLayer = "InferpoolSigmoid";

void UseFastSigmoids(onnx::GraphProto& graph);

}  // namespace inferpool::modelserver::onnx_graph
