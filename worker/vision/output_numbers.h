// Reads the numbers of a model's outputs, which nobody has checked before.
#pragma once

#include <absl/status/statusor.h>

#include <cstddef>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "proto/datatype.h"

namespace inferpool::vision {

// The numbers of one output: the tensor's own memory where that serves, else a converted copy.
class Numbers {
 public:
  Numbers(std::vector<std::size_t> shape, std::span<const float> borrowed)
      : shape_(std::move(shape)), values_(borrowed) {}
  Numbers(std::vector<std::size_t> shape, std::vector<float> own)
      : shape_(std::move(shape)), own_(std::move(own)), values_(own_) {}
  Numbers(Numbers&&) = default;
  Numbers& operator=(Numbers&&) = default;
  Numbers(const Numbers&) = delete;
  Numbers& operator=(const Numbers&) = delete;
  ~Numbers() = default;

  // For one picture, without the batch.
  const std::vector<std::size_t>& shape() const { return shape_; }
  std::span<const float> values() const { return values_; }
  // Row `i` of a tensor of two dimensions.
  std::span<const float> Row(std::size_t i) const {
    return values_.subspan(i * shape_[1], shape_[1]);
  }

 private:
  std::vector<std::size_t> shape_;
  std::vector<float> own_;
  std::span<const float> values_;
};

// The output of that name, FP32, FP16 or INT32, as `rank` dimensions: leading 1s are a batch of one
// picture and are left out, and so are trailing 1s where a vector is wanted. The data may have any
// size and alignment. The result may borrow from `outputs`. INTERNAL when there is no such output,
// it cannot be read so, or its bytes are not what its shape and datatype take.
absl::StatusOr<Numbers> ReadOutput(std::span<const TensorView> outputs, std::string_view name,
                                   std::size_t rank);

}  // namespace inferpool::vision
