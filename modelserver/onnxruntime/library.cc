#include "modelserver/onnxruntime/library.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstddef>
#include <filesystem>
#include <new>
#include <string_view>
#include <utility>

#include "shared/base/log.h"
#include "shared/base/mutex.h"
#include "shared/base/utf8.h"

namespace inferpool::ort {
namespace {

constexpr std::size_t kMaxText = 1000;  // of what the library says, in bytes

constexpr std::string_view kWhatToDo =
    "ops/run installs it where npm is; or name its file in modelserver.onnxruntime";

// Freed memory that is kept for the next run: what a few runs of the larger picture nets take.
constexpr std::size_t kMaxKept = std::size_t{128} << 20U;

// The library's messages. An error of a run or of a load is the status of the call as well, so only
// the environment's own errors are ours.
void LogMessage(void* /*parameter*/, LoggingLevel severity, const char* category,
                const char* log_id, const char* /*code_location*/, const char* message) {
  const std::string text = Utf8Text(message == nullptr ? "" : message, kMaxText);
  const std::string model = Utf8Text(log_id == nullptr ? "" : log_id, kMaxText);
  const log::Fields fields = {
      {"model", model}, {"category", category == nullptr ? "" : category}, {"message", text}};
  if (severity >= kError) {
    log::Warning("onnxruntime", fields);
  } else if (severity == kWarning) {
    log::Info("onnxruntime", fields);
  } else {
    log::Debug("onnxruntime", fields);
  }
}

absl::Status Unavailable(std::string_view why) {
  return absl::UnavailableError(
      fmt::format("ONNX Runtime cannot be loaded ({}): {}", why, kWhatToDo));
}

std::string FoundLibrary() {
  constexpr const char* kName = "libonnxruntime.so.1";
  std::error_code error;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error);
  std::filesystem::path beside = program.parent_path() / "onnxruntime" / kName;
  return std::filesystem::exists(beside, error) ? beside.string() : kName;
}

// Guards the library's path until it is loaded, and the library.
struct Process {
  Mutex mutex;
  std::string file ABSL_GUARDED_BY(mutex);
  std::unique_ptr<const absl::StatusOr<std::unique_ptr<const Library>>> library
      ABSL_GUARDED_BY(mutex);
};

Process& TheProcess() {
  static auto* process = new Process;  // never ends, as the library does not
  return *process;
}

// Three quarters of the machine's, so that one run cannot have the process killed.
std::size_t MostOfTheMemory() {
  return static_cast<std::size_t>(sysconf(_SC_PHYS_PAGES)) / 4 * 3 *
         static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

}  // namespace

Library::ModelsMemory::ModelsMemory(const Library& of)
    : OrtAllocator{
          .version = kApiVersion,
          .allocate =
              [](OrtAllocator* self, std::size_t bytes) {
                // The runtime uses what it gets without a look, so a null would end the process. It
                // turns the exception into a status of the run, as it does with its own
                // allocator's.
                void* memory = static_cast<ModelsMemory*>(self)->cache.Take(bytes);
                if (memory == nullptr) throw std::bad_alloc();
                return memory;
              },
          .free = [](OrtAllocator* self,
                     void* memory) { static_cast<ModelsMemory*>(self)->cache.Give(memory); },
          .info =
              [](const OrtAllocator* self) {
                return static_cast<const ModelsMemory*>(self)->library.memory();
              }},
      library(of),
      cache(kMaxKept, MostOfTheMemory()) {}

Library::Library(ApiTable table, std::string version)
    : api_(table), version_(std::move(version)), models_memory_(*this) {}

absl::StatusOr<std::unique_ptr<const Library>> Library::Load(const std::string& file) {
  // RTLD_DEEPBIND would keep its symbols apart from ours, but it exports none but its entry point.
  void* handle = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* why = dlerror();  // NOLINT(concurrency-mt-unsafe): of this thread, in glibc
    return Unavailable(why == nullptr ? "no reason given" : why);
  }
  const auto entry = reinterpret_cast<GetApiBase>(dlsym(handle, kEntryPoint));
  const OrtApiBase* base = entry == nullptr ? nullptr : entry();
  if (base == nullptr) {
    return Unavailable(fmt::format("{} has no {}", file, kEntryPoint));
  }
  const std::string version = base->get_version_string();
  const ApiTable table = base->get_api(kApiVersion);
  if (table == nullptr) {
    return Unavailable(
        fmt::format("{} is version {}, at least 1.{} is needed", file, version, kApiVersion));
  }
  std::unique_ptr<Library> library(new Library(table, version));
  if (const absl::Status status = library->MakeEnvironment(); !status.ok()) {
    return Unavailable(Message(status));
  }
  log::Info("onnxruntime loaded", {{"file", file}, {"version", version}});
  return library;
}

absl::Status Library::MakeEnvironment() {
  const LoggingLevel level = log::Enabled(log::Level::kDebug) ? kInfo : kWarning;
  RETURN_IF_ERROR(
      Check(api_(kCreateEnvWithCustomLogger, LogMessage, nullptr, level, "", &environment_)));
  RETURN_IF_ERROR(Check(api_(kDisableTelemetryEvents, environment_)));
  RETURN_IF_ERROR(Check(api_(kGetAllocatorWithDefaultOptions, &allocator_)));
  RETURN_IF_ERROR(Check(api_(kCreateCpuMemoryInfo, kDeviceAllocator, kDefaultMemory, &memory_)));

  return Check(api_(kRegisterAllocator, environment_, &models_memory_));
}

absl::Status Library::Check(OrtStatus* status) const {
  if (status == nullptr) {
    return absl::OkStatus();
  }
  const Handle<OrtStatus, kReleaseStatus> owner(status, {&api_});
  const ErrorCode code = api_(kGetErrorCode, status);
  const std::string_view said = api_(kGetErrorMessage, status);
  const std::string text = fmt::format("ONNX Runtime: {}", Utf8Text(said, kMaxText));
  if (said.find("bad_alloc") != std::string_view::npos ||
      said.find("Failed to allocate memory") != std::string_view::npos) {
    return absl::ResourceExhaustedError(text);
  }
  return code == kInvalidArgument ? absl::InvalidArgumentError(text) : absl::InternalError(text);
}

void UseLibrary(const std::string& file) {
  Process& process = TheProcess();
  const MutexLock lock(process.mutex);
  process.file = file;
}

absl::StatusOr<const Library*> Runtime() {
  Process& process = TheProcess();
  const MutexLock lock(process.mutex);
  if (process.library == nullptr) {
    process.library = std::make_unique<const absl::StatusOr<std::unique_ptr<const Library>>>(
        Library::Load(process.file.empty() ? FoundLibrary() : process.file));
  }
  if (!process.library->ok()) {
    return process.library->status();
  }
  return (*process.library)->get();
}

}  // namespace inferpool::ort
