// Reads the outputs of a model without trusting them.
#pragma once

#include <absl/status/statusor.h>

#include <cstddef>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "proto/datatype.h"

namespace inferpool::vision {

// The numbers of one output: a view of the tensor's own memory where possible, else a converted
// copy.
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

// Reads the FP32, FP16, FP64, INT32, INT64 or UINT8 output of that name as `rank` dimensions.
// Leading 1s, a batch of one picture, are dropped, and so are trailing 1s when `rank` is 1. The
// data may have any size and alignment. The result may borrow from `outputs`. INTERNAL: there is no
// such output, it does not have that rank, or its bytes do not match its shape and datatype.
absl::StatusOr<Numbers> ReadOutput(std::span<const TensorView> outputs, std::string_view name,
                                   std::size_t rank);

}  // namespace inferpool::vision
