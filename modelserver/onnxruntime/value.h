// Tensors of ONNX Runtime: over memory of ours, or of the runtime's own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "modelserver/onnxruntime/api.h"
#include "modelserver/onnxruntime/library.h"
#include "proto/datatype.h"
#include "shared/base/status.h"

namespace inferpool::ort {

// The datatype of an element type, and the other way round. TYPE_INVALID, kUndefined: there is
// none.
inference::DataType FromElementType(ElementType type);
ElementType ToElementType(inference::DataType datatype);

class Value {
 public:
  Value() = default;

  // A tensor whose elements are `data`, which must outlive it and have the size that `datatype` and
  // `shape` take. An input's data is only read.
  static absl::StatusOr<Value> Over(const Library& library, inference::DataType datatype,
                                    std::span<const std::int64_t> shape,
                                    std::span<const std::byte> data);

  // A tensor of strings, which are copied.
  static absl::StatusOr<Value> OfStrings(const Library& library,
                                         std::span<const std::int64_t> shape,
                                         std::span<const std::string_view> strings);

  explicit operator bool() const { return value_ != nullptr; }
  const OrtValue* get() const { return value_.get(); }
  OrtValue* get() { return value_.get(); }

  // Takes what a run has made.
  void Reset(const Library& library, OrtValue* value) { value_ = Owner(value, {&library.api()}); }

  struct Contents {
    inference::DataType datatype = inference::TYPE_INVALID;
    std::vector<std::int64_t> shape;
    std::span<const std::byte> data;  // empty for TYPE_STRING
  };
  // What is in the tensor; it points into it. INTERNAL when it is no tensor of a known type.
  absl::StatusOr<Contents> Read(const Library& library) const;

  // Appends the strings of a TYPE_STRING tensor of `count` elements to `raw`, as KServe writes
  // BYTES.
  absl::Status AppendStrings(const Library& library, std::size_t count, std::string& raw) const;

 private:
  using Owner = Handle<OrtValue, kReleaseValue>;
  explicit Value(Owner value) : value_(std::move(value)) {}

  Owner value_;
};

}  // namespace inferpool::ort
