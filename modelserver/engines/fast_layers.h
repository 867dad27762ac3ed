// Layers of our own in OpenCV's networks, which modelserver/engines/onnx/silu.h asks for by name.
#pragma once

namespace inferpool::modelserver {

// Makes them known to OpenCV, whose registry is the process's. Must come before a network that has
// them is read; does nothing the second time. Thread safe.
void RegisterFastLayers();

}  // namespace inferpool::modelserver
