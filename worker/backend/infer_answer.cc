#include "worker/backend/infer_answer.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>
#include <utility>

namespace inferpool::backend {
namespace {

using Output = inference::ModelInferResponse::InferOutputTensor;

template <typename... Args>
absl::Status Invalid(fmt::format_string<Args...> format, Args&&... args) {
  return absl::InvalidArgumentError(fmt::format(format, std::forward<Args>(args)...));
}

const OutputPlace* Find(const std::vector<OutputPlace>& places, std::string_view name) {
  const auto found = std::ranges::find(places, name, &OutputPlace::name);
  return found == places.end() ? nullptr : &*found;
}

absl::StatusOr<std::span<const std::byte>> FromRaw(const TensorView& tensor,
                                                   std::span<const std::byte> raw) {
  if (tensor.datatype == inference::TYPE_STRING) {
    const absl::StatusOr<std::int64_t> count = ElementCount(tensor.shape);
    RETURN_IF_ERROR(count.status());
    RETURN_IF_ERROR(DecodeBytes(raw, *count).status());
    return raw;
  }
  const absl::StatusOr<std::size_t> size = ByteSize(tensor.datatype, tensor.shape);
  RETURN_IF_ERROR(size.status());
  if (*size != raw.size()) {
    return Invalid("{} of shape {} takes {} bytes, there are {}", DatatypeName(tensor.datatype),
                   ShapeText(tensor.shape), *size, raw.size());
  }
  return raw;
}

absl::StatusOr<std::span<const std::byte>> FromPlace(const TensorView& tensor,
                                                     const OutputPlace& place) {
  const absl::StatusOr<std::size_t> size = ByteSize(tensor.datatype, tensor.shape);
  RETURN_IF_ERROR(size.status());
  if (*size > place.bytes) {
    return Invalid("{} of shape {} takes {} bytes, it was given {}", DatatypeName(tensor.datatype),
                   ShapeText(tensor.shape), *size, place.bytes);
  }
  return std::span<const std::byte>(place.lease->bytes()).subspan(place.offset, *size);
}

}  // namespace

absl::StatusOr<InferAnswer> InferAnswer::FromMessage(inference::ModelInferResponse message) {
  InferAnswer answer;
  answer.message_ = std::make_unique<const inference::ModelInferResponse>(std::move(message));
  absl::StatusOr<TensorList> list = ReadOutputs(*answer.message_);
  RETURN_IF_ERROR(list.status());
  answer.list_ = *std::move(list);
  answer.tensors_ = answer.list_.tensors();
  return answer;
}

absl::StatusOr<InferAnswer> InferAnswer::Make(inference::ModelInferResponse message,
                                              std::span<const std::span<const std::byte>> raw,
                                              std::vector<OutputPlace> places,
                                              std::shared_ptr<const void> storage) {
  const auto placed =
      static_cast<std::size_t>(std::ranges::count_if(message.outputs(), [&](const Output& output) {
        return backend::Find(places, output.name()) != nullptr;
      }));
  if (raw.empty() && placed == 0) return FromMessage(std::move(message));

  InferAnswer answer;
  answer.message_ = std::make_unique<const inference::ModelInferResponse>(std::move(message));
  const auto& outputs = answer.message_->outputs();
  const auto count = static_cast<std::size_t>(outputs.size());
  const bool empty_entries = raw.size() == count;  // an entry also for what is in its place
  if (!empty_entries && raw.size() != count - placed) {
    return Invalid("{} raw contents for {} outputs", raw.size(), count);
  }
  std::unordered_set<std::string_view> names;
  for (const Output& output : outputs) {
    const auto failed = [&](const absl::Status& status) {
      return absl::Status(status.code(),
                          fmt::format("output '{}': {}", output.name(), Message(status)));
    };
    TensorView view;
    view.name = output.name();
    view.datatype = ParseDatatype(output.datatype());
    view.shape = {output.shape().data(), static_cast<std::size_t>(output.shape().size())};
    if (!names.insert(view.name).second) return failed(Invalid("it is given twice"));
    // Some servers put an empty message there.
    if (output.contents().ByteSizeLong() > 0) {
      return failed(Invalid("contents together with raw contents"));
    }
    if (view.datatype == inference::TYPE_INVALID) {
      return failed(Invalid("unknown datatype '{}'", output.datatype()));
    }
    const OutputPlace* place = backend::Find(places, output.name());
    std::span<const std::byte> entry;
    if (place == nullptr || empty_entries) {
      entry = raw.front();
      raw = raw.subspan(1);
    }
    if (place == nullptr && output.parameters().contains("shared_memory_region")) {
      return failed(Invalid("it is in shared memory that was not asked for"));
    }
    const absl::StatusOr<std::span<const std::byte>> data =
        place != nullptr && entry.empty() ? FromPlace(view, *place) : FromRaw(view, entry);
    if (!data.ok()) return failed(data.status());
    view.data = *data;
    answer.tensors_.push_back(view);
  }
  answer.places_ = std::move(places);
  answer.storage_ = std::move(storage);
  return answer;
}

const TensorView* InferAnswer::Find(std::string_view name) const {
  const auto found = std::ranges::find(tensors_, name, &TensorView::name);
  return found == tensors_.end() ? nullptr : &*found;
}

absl::StatusOr<std::span<const std::byte>> RowOf(const TensorView& tensor, int rows, int row) {
  if (tensor.shape.empty() || tensor.shape.front() != rows || row < 0 || row >= rows) {
    return Invalid("output '{}': the shape {} is not of {} rows", tensor.name,
                   ShapeText(tensor.shape), rows);
  }
  if (tensor.datatype == inference::TYPE_STRING) {
    return Invalid("output '{}': BYTES cannot be taken apart into rows", tensor.name);
  }
  const std::size_t row_bytes = tensor.data.size() / static_cast<std::size_t>(rows);
  return tensor.data.subspan(static_cast<std::size_t>(row) * row_bytes, row_bytes);
}

}  // namespace inferpool::backend
