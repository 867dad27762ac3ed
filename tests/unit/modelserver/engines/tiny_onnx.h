// A network for tests, for x [batch, 2, 4], sum = x + x and, from it,
// flat = Reshape(sum) to `flat_shape`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace inferpool::modelserver {

struct TinyOnnx {
  std::int64_t batch = -1;  // -1: open
  // As ONNX has it: 0 keeps the input's dimension. {1, 8} is an export that forgot the batch.
  std::vector<std::int64_t> flat_shape = {0, 8};
  std::string names = {};  // Ultralytics' metadata; none when empty
};

// The file's bytes.
std::string MakeTinyOnnx(const TinyOnnx& wanted = {});

}  // namespace inferpool::modelserver
