#include "modelserver/config_file.h"

#include <fmt/format.h>
#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/io/zero_copy_stream_impl.h>
#include <google/protobuf/text_format.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <unordered_set>

#include "proto/tensor.h"

namespace inferpool::modelserver {
namespace {

constexpr int kMaxMistakes = 5;     // named in one error; the rest usually follows from them
constexpr int kMaxInstances = 64;   // each holds its own weights
constexpr int kMaxBatch = 1024;     // far past where a larger batch pays on a CPU
constexpr int kMaxTensors = 256;    // inputs, outputs
constexpr int kMaxDimensions = 16;  // OpenCV takes 32, batch and reserve included

class Mistakes : public google::protobuf::io::ErrorCollector {
 public:
  explicit Mistakes(const std::filesystem::path& file) : file_(file) {}

  void AddError(int line, google::protobuf::io::ColumnNumber column,
                const std::string& message) override {
    if (count_ < kMaxMistakes) {
      text_ += fmt::format("{}{}:{}:{}: {}", count_ == 0 ? "" : "; ", file_.string(), line + 1,
                           column + 1, message);
    }
    ++count_;
  }

  const std::string& text() const { return text_; }

 private:
  const std::filesystem::path& file_;
  std::string text_;
  int count_ = 0;
};

template <typename... Args>
absl::Status Invalid(fmt::format_string<Args...> format, Args&&... args) {
  return absl::InvalidArgumentError(fmt::format(format, std::forward<Args>(args)...));
}

template <typename Tensor>
absl::Status CheckTensors(std::string_view kind,
                          const google::protobuf::RepeatedPtrField<Tensor>& tensors) {
  if (tensors.empty() || tensors.size() > kMaxTensors) {
    return Invalid("a model has 1 to {} {}s, this one {}", kMaxTensors, kind, tensors.size());
  }
  std::unordered_set<std::string_view> names;
  for (const Tensor& tensor : tensors) {
    if (tensor.name().empty() || !names.insert(tensor.name()).second) {
      return Invalid("{} '{}' needs a name of its own", kind, tensor.name());
    }
    if (DatatypeName(tensor.data_type()).empty()) {
      return Invalid("{} '{}' has no data_type", kind, tensor.name());
    }
    if (tensor.dims_size() > kMaxDimensions) {
      return Invalid("{} '{}' has over {} dims", kind, tensor.name(), kMaxDimensions);
    }
    if (std::ranges::any_of(tensor.dims(),
                            [](std::int64_t size) { return size < -1 || size == 0; })) {
      return Invalid("{} '{}': a dimension is positive, or -1 when its size is free", kind,
                     tensor.name());
    }
    if (tensor.has_reshape() || tensor.is_shape_tensor()) {
      return Invalid("{} '{}': reshape and shape tensors are not supported", kind, tensor.name());
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<inference::ModelConfig> ReadConfigFile(const std::filesystem::path& file,
                                                      const std::string& name) {
  inference::ModelConfig config;
  std::error_code error;
  if (std::filesystem::exists(file, error)) {
    std::ifstream stream(file);
    if (!stream) {
      return Invalid("{}: cannot be opened", file.string());
    }
    google::protobuf::io::IstreamInputStream input(&stream);
    Mistakes mistakes(file);
    google::protobuf::TextFormat::Parser parser;
    parser.RecordErrorsTo(&mistakes);
    if (!parser.Parse(&input, &config)) {
      return absl::InvalidArgumentError(mistakes.text());
    }
  }
  if (!config.name().empty() && config.name() != name) {
    return Invalid("{}: the name '{}' is not the folder's, '{}'", file.string(), config.name(),
                   name);
  }
  config.set_name(name);
  return config;
}

absl::Status CheckConfig(const inference::ModelConfig& config) {
  if (config.has_ensemble_scheduling()) {
    return Invalid("ensembles are not supported");
  }
  if (config.max_batch_size() < 0 || config.max_batch_size() > kMaxBatch) {
    return Invalid("max_batch_size is {}, allowed is 0 to {}", config.max_batch_size(), kMaxBatch);
  }
  RETURN_IF_ERROR(CheckTensors("input", config.input()));
  RETURN_IF_ERROR(CheckTensors("output", config.output()));
  for (const inference::ModelInput& input : config.input()) {
    if (input.allow_ragged_batch() || input.optional()) {
      return Invalid("input '{}': ragged batches and optional inputs are not supported",
                     input.name());
    }
  }
  for (const inference::ModelInstanceGroup& group : config.instance_group()) {
    if (group.count() < 0 || group.count() > kMaxInstances) {
      return Invalid("an instance_group's count is {}, allowed is 0 to {}", group.count(),
                     kMaxInstances);
    }
  }
  if (InstanceCount(config) > kMaxInstances) {
    return Invalid("more than {} instances", kMaxInstances);
  }
  return absl::OkStatus();
}

std::vector<std::string> UnusedSettings(const inference::ModelConfig& config) {
  std::vector<std::string> unused;
  if (config.has_dynamic_batching()) {
    unused.emplace_back("dynamic_batching");
  }
  if (!config.model_warmup().empty()) {
    unused.emplace_back("model_warmup");
  }
  if (config.response_cache().enable()) {
    unused.emplace_back("response_cache");
  }
  if (std::ranges::any_of(config.instance_group(), [](const inference::ModelInstanceGroup& group) {
        return group.kind() == inference::ModelInstanceGroup::KIND_GPU;
      })) {
    unused.emplace_back("instance_group.kind: KIND_GPU");
  }
  return unused;
}

int InstanceCount(const inference::ModelConfig& config) {
  int count = config.instance_group().empty() ? 1 : 0;
  for (const inference::ModelInstanceGroup& group : config.instance_group()) {
    count += std::max(group.count(), 1);
  }
  return count;
}

absl::StatusOr<std::vector<std::int64_t>> ChooseVersions(
    const inference::ModelVersionPolicy& policy, std::vector<std::int64_t> available) {
  std::ranges::sort(available);
  if (policy.has_all()) {
    return available;
  }
  if (policy.has_specific()) {
    std::vector<std::int64_t> chosen(policy.specific().versions().begin(),
                                     policy.specific().versions().end());
    std::ranges::sort(chosen);
    chosen.erase(std::unique(chosen.begin(), chosen.end()), chosen.end());
    for (const std::int64_t version : chosen) {
      if (!std::ranges::binary_search(available, version)) {
        return Invalid("version_policy asks for version {}, which has no folder", version);
      }
    }
    return chosen;
  }
  const std::size_t wanted = std::max(policy.latest().num_versions(), 1U);
  if (available.size() > wanted) {
    available.erase(available.begin(), available.end() - static_cast<std::ptrdiff_t>(wanted));
  }
  return available;
}

const std::string* FindParameter(const inference::ModelConfig& config, const std::string& key) {
  const auto found = config.parameters().find(key);
  return found == config.parameters().end() ? nullptr : &found->second.string_value();
}

absl::StatusOr<double> NumberParameter(const inference::ModelConfig& config, const std::string& key,
                                       double least, double most, double fallback) {
  const std::string* text = FindParameter(config, key);
  if (text == nullptr) {
    return fallback;
  }
  double value = 0;
  const char* end = text->data() + text->size();
  const auto [rest, error] = std::from_chars(text->data(), end, value);
  if (error != std::errc() || rest != end || !(value >= least && value <= most)) {
    return Invalid("parameter '{}' is '{}', allowed is {} to {}", key, *text, least, most);
  }
  return value;
}

}  // namespace inferpool::modelserver
