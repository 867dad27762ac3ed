#include "modelserver/config/config_file.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/io/zero_copy_stream_impl.h>
#include <google/protobuf/text_format.h>
#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>

namespace inferpool::modelserver {
namespace {

constexpr int kMaxMistakes = 5;  // named in one error; the rest usually follows from them
constexpr std::size_t kMaxVersionsNamed = 10;
constexpr std::size_t kMaxJsonBytes = std::size_t{1} << 20U;

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

}  // namespace

absl::StatusOr<inference::ModelConfig> ReadConfigFile(const std::filesystem::path& file,
                                                      const std::string& name) {
  inference::ModelConfig config;
  std::error_code error;
  if (std::filesystem::exists(file, error)) {
    std::ifstream stream(file);
    if (!stream) {
      return InvalidArgument("{}: cannot be opened", file.string());
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
    return InvalidArgument("{}: the name '{}' is not the folder's, '{}'", file.string(),
                           config.name(), name);
  }
  config.set_name(name);
  return config;
}

absl::StatusOr<inference::ModelConfig> ParseConfigJson(const std::string& json,
                                                       const std::string& name) {
  if (json.size() > kMaxJsonBytes) {
    return InvalidArgument("the configuration is larger than 1 MiB");
  }
  inference::ModelConfig config;
  const auto parsed = google::protobuf::util::JsonStringToMessage(json, &config);
  if (!parsed.ok()) {
    return InvalidArgument("the configuration is not understood: {}", parsed.ToString());
  }
  if (!config.name().empty() && config.name() != name) {
    return InvalidArgument("the configuration is for '{}', not for '{}'", config.name(), name);
  }
  config.set_name(name);
  return config;
}

void FillDefaults(inference::ModelConfig& config) {
  if (config.version_policy().policy_choice_case() ==
      inference::ModelVersionPolicy::POLICY_CHOICE_NOT_SET) {
    config.mutable_version_policy()->mutable_latest()->set_num_versions(1);
  }
  if (config.has_dynamic_batching() && config.dynamic_batching().preferred_batch_size().empty()) {
    config.mutable_dynamic_batching()->add_preferred_batch_size(config.max_batch_size());
  }
  if (config.has_ensemble_scheduling()) {
    return;  // its models have instances
  }
  if (config.instance_group().empty()) {
    config.add_instance_group()->set_name(config.name());
  }
  int index = 0;
  for (inference::ModelInstanceGroup& group : *config.mutable_instance_group()) {
    if (group.name().empty()) {
      group.set_name(fmt::format("{}_{}", config.name(), index));
    }
    if (group.kind() == inference::ModelInstanceGroup::KIND_AUTO) {
      group.set_kind(inference::ModelInstanceGroup::KIND_CPU);
    }
    group.set_count(std::max(group.count(), 1));
    ++index;
  }
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
    std::vector<std::int64_t> there;
    std::ranges::set_intersection(chosen, available, std::back_inserter(there));
    if (there.empty()) {
      chosen.resize(std::min(chosen.size(), kMaxVersionsNamed));
      return InvalidArgument(
          "version_policy asks for specific versions ({}), of which none has a folder",
          fmt::join(chosen, ", "));
    }
    return there;
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
                                       double min, double max, double fallback) {
  const std::string* text = FindParameter(config, key);
  if (text == nullptr) {
    return fallback;
  }
  double value = 0;
  const char* end = text->data() + text->size();
  const auto [rest, error] = std::from_chars(text->data(), end, value);
  if (error != std::errc() || rest != end || !(value >= min && value <= max)) {
    return InvalidArgument("parameter '{}' is '{}', allowed is {} to {}", key, *text, min, max);
  }
  return value;
}

}  // namespace inferpool::modelserver
