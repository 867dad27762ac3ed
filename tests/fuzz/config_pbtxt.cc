// A model's config.pbtxt, and the JSON of a load request.
#include <google/protobuf/text_format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "modelserver/config/config_check.h"
#include "modelserver/config/config_file.h"
#include "shared/base/file_descriptor.h"
#include "tests/fuzz/check.h"

using namespace inferpool;

namespace {

absl::StatusOr<inference::ModelConfig> ReadText(std::string_view text) {
  const FileDescriptor file(memfd_create("config.pbtxt", MFD_CLOEXEC));
  HOLDS(write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  return modelserver::ReadConfigFile("/proc/self/fd/" + std::to_string(file.get()), "model");
}

void CheckUse(const absl::StatusOr<inference::ModelConfig>& config) {
  if (!config.ok()) {
    HOLDS(absl::IsInvalidArgument(config.status()) && !config.status().message().empty());
    return;
  }
  HOLDS(config->name().empty() || config->name() == "model");
  modelserver::UnusedSettings(*config);
  modelserver::IsEnsemble(*config);
  const std::vector<std::int64_t> there = {1, 2, 5};
  const auto versions = modelserver::ChooseVersions(config->version_policy(), there);
  if (versions.ok()) {
    HOLDS(std::ranges::is_sorted(*versions) && std::ranges::includes(there, *versions));
  }
  const auto number = modelserver::NumberParameter(*config, "input_size", 0, 10, 5);
  HOLDS(!number.ok() || (*number >= 0 && *number <= 10));
  if (modelserver::CheckConfig(*config).ok()) HOLDS(modelserver::InstanceCount(*config) >= 1);
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* /*count*/, char*** /*arguments*/) {
  google::protobuf::SetLogHandler(nullptr);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = fuzz::Text(data, size);
  CheckUse(modelserver::ParseConfigJson(std::string(text), "model"));
  const auto config = ReadText(text);
  CheckUse(config);
  if (!config.ok()) return 0;
  // Written again, it says the same. (As text, which is sorted; the wire's maps come in any order.)
  std::string written;
  HOLDS(google::protobuf::TextFormat::PrintToString(*config, &written));
  const auto again = ReadText(written);
  HOLDS(again.ok());
  std::string written_again;
  HOLDS(google::protobuf::TextFormat::PrintToString(*again, &written_again));
  HOLDS(written_again == written);
  return 0;
}
