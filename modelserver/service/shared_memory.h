// System shared memory that clients have registered: KServe's system-shared-memory extension as
// Triton has it (statuses: the protocol notes' table).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "shared/base/mutex.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

// A part of a segment, mapped for as long as this lives: who holds it may use its memory after the
// region was unregistered. Its owner can write to it, and shorten it, at any time; a read of what
// is gone then gives zeros (bus_error.h) and later uses fail.
class SharedMemoryRegion;

struct SharedMemoryPart {
  std::shared_ptr<const SharedMemoryRegion> region;
  std::span<std::byte> memory;
};

struct SharedMemoryDescription {
  std::string name;
  std::string key;  // as shm_open takes it
  std::uint64_t offset = 0;
  std::uint64_t byte_size = 0;
};

// Thread safe. A lookup holds the lock for the search alone.
class SharedMemoryTable {
 public:
  // Maps a part of an existing segment. Errors: ALREADY_EXISTS for a name that is taken, INTERNAL
  // when the segment cannot be opened or mapped, INVALID_ARGUMENT when the part is not inside it or
  // a name is empty, RESOURCE_EXHAUSTED when 4096 regions (kMaxGuards) are mapped.
  absl::Status Register(const SharedMemoryDescription& description);

  // `byte_size` bytes at `offset` of region `name`. Errors: NOT_FOUND; INVALID_ARGUMENT when that
  // is not inside the region; INTERNAL when the segment has been shortened since.
  absl::StatusOr<SharedMemoryPart> Find(const std::string& name, std::uint64_t offset,
                                        std::uint64_t byte_size) const;

  // Region `name`, or all when it is empty; unmapped when the last use has ended. Unknown: no
  // error.
  void Unregister(const std::string& name);

  // Region `name`, or all when it is empty. Error: NOT_FOUND.
  absl::StatusOr<std::vector<SharedMemoryDescription>> Status(const std::string& name) const;

 private:
  mutable Mutex mutex_;
  std::map<std::string, std::shared_ptr<const SharedMemoryRegion>> regions_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace inferpool::modelserver
