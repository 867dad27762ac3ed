#include "modelserver/execution/warmup.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "modelserver/config/request_check.h"
#include "modelserver/config/reshape.h"
#include "proto/tensor.h"

namespace inferpool::modelserver {
namespace {

constexpr int kMaxWarmups = 32;
constexpr std::uint32_t kMaxRuns = 1000;
constexpr std::size_t kMaxBytes = std::size_t{256} << 20U;

template <typename T, typename Make>
std::string Filled(std::size_t bytes, Make make) {
  std::string data(bytes, '\0');
  for (std::size_t at = 0; at + sizeof(T) <= bytes; at += sizeof(T)) {
    const T value = make();
    std::copy_n(reinterpret_cast<const char*>(&value), sizeof value, data.data() + at);
  }
  return data;
}

// Bytes that are valid values of the datatype: floating point from 0 to 1, and BOOL 0 or 1.
std::string RandomData(inference::DataType datatype, std::size_t bytes) {
  std::mt19937 random;  // NOLINT(cert-msc51-cpp): the same at every start, on purpose
  std::uniform_real_distribution<double> unit(0, 1);
  switch (datatype) {
    case inference::TYPE_FP32:
      return Filled<float>(bytes, [&] { return static_cast<float>(unit(random)); });
    case inference::TYPE_FP64:
      return Filled<double>(bytes, [&] { return unit(random); });
    case inference::TYPE_FP16:  // exponents under that of 1, so 2^-14 to 1
      return Filled<std::uint16_t>(
          bytes, [&] { return static_cast<std::uint16_t>(0x0400 + random() % 0x3800); });
    case inference::TYPE_BF16:
      return Filled<std::uint16_t>(
          bytes, [&] { return static_cast<std::uint16_t>(0x3800 + random() % 0x0780); });
    case inference::TYPE_BOOL:
      return Filled<std::uint8_t>(bytes, [&] { return static_cast<std::uint8_t>(random() % 2); });
    default:
      return Filled<std::uint8_t>(bytes, [&] { return static_cast<std::uint8_t>(random()); });
  }
}

absl::StatusOr<std::string> FileData(const std::filesystem::path& model_folder,
                                     const std::filesystem::path& name) {
  if (name.filename() != name || name == "." || name == "..") {
    return InvalidArgument("input_data_file '{}' is not a plain file name", name.string());
  }
  const std::filesystem::path file = model_folder / "warmup" / name;
  std::error_code error;
  const std::uintmax_t size = std::filesystem::file_size(file, error);
  std::ifstream stream(file, std::ios::binary);
  if (error || !stream) {
    return InvalidArgument("{} cannot be read", file.string());
  }
  if (size > kMaxBytes) {
    return InvalidArgument("{} is larger than {} bytes", file.string(), kMaxBytes);
  }
  return std::string(std::istreambuf_iterator<char>(stream), {});
}

// The raw contents of one row of an input.
absl::StatusOr<std::string> RowData(const inference::ModelWarmup::Input& input,
                                    const std::filesystem::path& model_folder) {
  using Input = inference::ModelWarmup::Input;
  if (input.input_data_type_case() == Input::kInputDataFile) {
    return FileData(model_folder, input.input_data_file());
  }
  if (!input.zero_data() && !input.random_data()) {
    return InvalidArgument("it says neither zero_data nor random_data nor input_data_file");
  }
  const bool text = input.data_type() == inference::TYPE_STRING;
  // An empty BYTES element is its length, a uint32 of 0.
  ASSIGN_OR_RETURN(const std::size_t bytes,
                   ByteSize(text ? inference::TYPE_UINT32 : input.data_type(),
                            {input.dims().data(), static_cast<std::size_t>(input.dims().size())}));
  if (bytes > kMaxBytes) {
    return InvalidArgument("it takes {} bytes, {} is the most", bytes, kMaxBytes);
  }
  return input.random_data() && !text ? RandomData(input.data_type(), bytes)
                                      : std::string(bytes, '\0');
}

absl::StatusOr<inference::ModelInferRequest> MakeRequest(
    const inference::ModelConfig& config, const inference::ModelWarmup& warmup,
    const std::filesystem::path& model_folder) {
  const std::uint32_t rows = std::max(warmup.batch_size(), 1U);
  if (rows > static_cast<std::uint32_t>(std::max(config.max_batch_size(), 1))) {
    return InvalidArgument("its batch_size is {}, the model's max_batch_size {}", rows,
                           config.max_batch_size());
  }
  inference::ModelInferRequest request;
  std::size_t total = 0;
  for (const auto& [name, input] : warmup.inputs()) {
    const absl::StatusOr<std::string> row = RowData(input, model_folder);
    if (!row.ok()) {
      return InvalidArgument("input '{}': {}", name, Message(row.status()));
    }
    total += row->size() * rows;
    if (total > kMaxBytes) {
      return InvalidArgument("it takes {} bytes or more, {} is the most", total, kMaxBytes);
    }
    std::vector<std::int64_t> shape(input.dims().begin(), input.dims().end());
    if (config.max_batch_size() > 0) {
      shape.insert(shape.begin(), rows);
    }
    std::string& raw = AddRawInput(request, name, input.data_type(), shape);
    raw.reserve(row->size() * rows);
    for (std::uint32_t i = 0; i < rows; ++i) {
      raw += *row;
    }
  }
  return request;
}

absl::Status Run(const inference::ModelConfig& config, const inference::ModelWarmup& warmup,
                 const std::filesystem::path& model_folder,
                 std::span<const std::unique_ptr<Engine>> instances) {
  if (warmup.count() > kMaxRuns) {
    return InvalidArgument("its count is {}, {} is the most", warmup.count(), kMaxRuns);
  }
  ASSIGN_OR_RETURN(const inference::ModelInferRequest request,
                   MakeRequest(config, warmup, model_folder));
  ASSIGN_OR_RETURN(const TensorList inputs, ReadInputs(request));
  ASSIGN_OR_RETURN(std::vector<TensorView> ordered, OrderInputs(config, inputs));
  const auto shapes = ReshapeInputs(config, ordered);
  for (const std::unique_ptr<Engine>& instance : instances) {
    for (std::uint32_t run = 0; run < std::max(warmup.count(), 1U); ++run) {
      Outputs outputs(config);
      for (int i = 0; i < config.output_size(); ++i) {
        outputs.Want(i);
      }
      Execution execution{.inputs = ordered, .outputs = &outputs, .status = {}};
      instance->Run({&execution, 1});
      RETURN_IF_ERROR(execution.status);
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status WarmUp(const inference::ModelConfig& config, const std::filesystem::path& model_folder,
                    std::span<const std::unique_ptr<Engine>> instances) {
  if (config.model_warmup_size() > kMaxWarmups) {
    return InvalidArgument("{} model_warmups, {} is the most", config.model_warmup_size(),
                           kMaxWarmups);
  }
  for (const inference::ModelWarmup& warmup : config.model_warmup()) {
    if (const absl::Status status = Run(config, warmup, model_folder, instances); !status.ok()) {
      return absl::Status(status.code(),
                          fmt::format("model_warmup '{}': {}", warmup.name(), Message(status)));
    }
  }
  return absl::OkStatus();
}

}  // namespace inferpool::modelserver
