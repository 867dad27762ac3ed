// A model's ONNX file: it loads, or there is an error that says why. What the runtime does with it
// is not instrumented, but its memory is the sanitizer's.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string>

#include "modelserver/config/config_check.h"
#include "modelserver/engines/onnxruntime.h"
#include "modelserver/onnxruntime/library.h"
#include "shared/base/file_descriptor.h"
#include "shared/base/log.h"
#include "tests/fuzz/check.h"

using namespace inferpool;

extern "C" int LLVMFuzzerInitialize(int* /*count*/, char*** /*arguments*/) {
  log::SetLevel(log::Level::kError);
  if (const auto runtime = ort::Runtime(); !runtime.ok()) {
    std::printf("skipped: %s\n", runtime.status().ToString().c_str());
    std::_Exit(EXIT_SUCCESS);
  }
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const FileDescriptor file(memfd_create("model.onnx", MFD_CLOEXEC));
  HOLDS(write(file.get(), data, size) == static_cast<ssize_t>(size));
  inference::ModelConfig config;
  config.set_default_model_filename(std::to_string(file.get()));
  const auto loaded = modelserver::LoadOnnx("/proc/self/fd", config);
  if (!loaded.ok()) {
    HOLDS(absl::IsInvalidArgument(loaded.status()) && !loaded.status().message().empty());
    return 0;
  }
  if (modelserver::CheckConfig(loaded->config).ok()) {
    HOLDS(loaded->make_engine(loaded->config).ok());
  }
  return 0;
}
