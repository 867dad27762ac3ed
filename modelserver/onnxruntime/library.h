// ONNX Runtime's library, which is loaded at run time: the program works without it, but for models
// that need it.
#pragma once

#include <memory>
#include <string>

#include "modelserver/onnxruntime/api.h"
#include "modelserver/onnxruntime/block_cache.h"
#include "shared/base/status.h"

namespace inferpool::ort {

// Releases what the library handed out.
template <typename T, auto kRelease>
struct Release {
  const Api* api = nullptr;
  void operator()(T* object) const { (*api)(kRelease, object); }
};
template <typename T, auto kRelease>
using Handle = std::unique_ptr<T, Release<T, kRelease>>;

// The library with its environment, made once per process and never unloaded: it has threads and
// static objects of its own. What it logs goes to our log, and its telemetry is off. All sessions
// take their memory from one cache (block_cache.h) and not each from an arena of its own, which
// would keep the most that its model ever needed. Thread safe.
class Library {
 public:
  // Loads `file`, a path, or a name that the dynamic linker looks for. UNAVAILABLE with what to do
  // when it cannot be loaded or is too old.
  static absl::StatusOr<std::unique_ptr<const Library>> Load(const std::string& file);

  const Api& api() const { return api_; }
  // Such as "1.30.0".
  const std::string& version() const { return version_; }
  const OrtEnv* environment() const { return environment_; }
  // Of plain memory that the caller owns.
  const OrtMemoryInfo* memory() const { return memory_; }
  OrtAllocator* allocator() const { return allocator_; }

  // Turns a status of the library into ours and releases it. INVALID_ARGUMENT and
  // RESOURCE_EXHAUSTED (no memory) where the library says so, otherwise INTERNAL.
  absl::Status Check(OrtStatus* status) const;

 private:
  // The allocator that the sessions know.
  struct ModelsMemory : OrtAllocator {
    explicit ModelsMemory(const Library& of);
    const Library& library;
    BlockCache cache;
  };

  Library(ApiTable table, std::string version);
  absl::Status MakeEnvironment();

  const Api api_;
  const std::string version_;
  OrtEnv* environment_ = nullptr;
  OrtMemoryInfo* memory_ = nullptr;
  OrtAllocator* allocator_ = nullptr;
  ModelsMemory models_memory_;
};

// Names the file that Runtime loads. Without this call, or with an empty path, it is
// onnxruntime/libonnxruntime.so.1 in the folder of the program where that exists, otherwise the one
// that the dynamic linker finds. Call it before the first Runtime.
void UseLibrary(const std::string& file);

// The process's library, which the first call loads. Every call returns what the first one did.
absl::StatusOr<const Library*> Runtime();

}  // namespace inferpool::ort
