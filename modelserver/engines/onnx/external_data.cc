#include "modelserver/engines/onnx/external_data.h"

#include <absl/strings/numbers.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <limits>
#include <optional>
#include <string>

namespace inferpool::modelserver::onnx_graph {
namespace {

constexpr std::uint64_t kMaxBytes = std::numeric_limits<std::int32_t>::max();

template <typename... Args>
absl::Status InvalidData(const onnx::TensorProto& tensor, fmt::format_string<Args...> format,
                         Args&&... args) {
  return InvalidArgument("the external data of '{}': {}", tensor.name(),
                         fmt::format(format, std::forward<Args>(args)...));
}

// ONNX's `external_data`, key by key.
struct Place {
  std::filesystem::path file;
  std::uint64_t offset = 0;
  std::optional<std::uint64_t> length;  // to the file's end when it is left out
};

absl::StatusOr<Place> PlaceOf(const onnx::TensorProto& tensor) {
  Place place;
  for (const onnx::StringStringEntryProto& entry : tensor.external_data()) {
    std::uint64_t number = 0;
    if (entry.key() == "location") {
      place.file = entry.value();
    } else if (entry.key() != "offset" && entry.key() != "length") {
      continue;
    } else if (!absl::SimpleAtoi(entry.value(), &number)) {
      return InvalidData(tensor, "its {} is '{}'", entry.key(), entry.value());
    } else if (entry.key() == "offset") {
      place.offset = number;
    } else {
      place.length = number;
    }
  }
  if (place.file.empty() || place.file.is_absolute() ||
      std::ranges::find(place.file, "..") != place.file.end()) {
    return InvalidData(tensor, "its location '{}' is not within the version's folder",
                       place.file.string());
  }
  return place;
}

absl::Status Read(const std::filesystem::path& folder, std::uint64_t& budget,
                  onnx::TensorProto& tensor) {
  if (tensor.data_location() != onnx::TensorProto::EXTERNAL) {
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const Place place, PlaceOf(tensor));
  const std::filesystem::path file = folder / place.file;
  std::error_code error;
  const std::uint64_t size = std::filesystem::file_size(file, error);  // fails for what is no file
  if (error) {
    return InvalidData(tensor, "{}: {}", file.string(), error.message());
  }
  const std::uint64_t rest = size - std::min(place.offset, size);
  const std::uint64_t bytes = place.length.value_or(rest);
  if (bytes > rest) {
    return InvalidData(tensor, "{} has {} bytes, too few for {} from {} on", file.string(), size,
                       bytes, place.offset);
  }
  if (bytes > budget) {
    return InvalidData(tensor, "with it the model has over {} bytes", kMaxBytes);
  }
  budget -= bytes;
  std::string& data = *tensor.mutable_raw_data();
  data.resize(bytes);
  std::ifstream stream(file, std::ios::binary);
  stream.seekg(static_cast<std::streamoff>(place.offset));
  if (!stream.read(data.data(), static_cast<std::streamsize>(bytes))) {
    return InvalidData(tensor, "{} cannot be read", file.string());
  }
  tensor.clear_external_data();
  tensor.clear_data_location();
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadExternalData(const std::filesystem::path& folder, onnx::ModelProto& model) {
  std::uint64_t budget = kMaxBytes;
  for (onnx::TensorProto& initializer : *model.mutable_graph()->mutable_initializer()) {
    RETURN_IF_ERROR(Read(folder, budget, initializer));
  }
  for (onnx::NodeProto& node : *model.mutable_graph()->mutable_node()) {
    for (onnx::AttributeProto& attribute : *node.mutable_attribute()) {
      if (attribute.has_t()) {
        RETURN_IF_ERROR(Read(folder, budget, *attribute.mutable_t()));
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace inferpool::modelserver::onnx_graph
