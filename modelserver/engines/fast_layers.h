// Our own layers in OpenCV's networks, to which UseFastSigmoids (onnx/silu.h) rewrites a graph.
#pragma once

namespace inferpool::modelserver {

// Registers the layers with OpenCV for the whole process. Must be called before a network that has
// them is read. More calls do nothing. Thread safe.
void RegisterFastLayers();

}  // namespace inferpool::modelserver
