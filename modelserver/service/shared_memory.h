// The regions of system shared memory that clients have registered: KServe's extension
// system-shared-memory, with Triton's statuses.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "shared/base/mutex.h"
#include "shared/base/status.h"

namespace inferpool::modelserver {

// A part of a segment that is mapped for as long as this lives, even after the region has been
// unregistered. The segment's owner can write to it and shorten it at any time. Reads beyond its
// new end then give zeros (bus_error.h), and SharedMemoryTable::Find fails.
class SharedMemoryRegion;

// Memory within a region, valid as long as `region` is held.
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

// What the keys of segments that Triton's Python backend makes for itself begin with, after any
// slashes.
inline constexpr std::string_view kReservedKeys = "triton_python_backend_shm_region_";

// Thread safe. The lock is held only to search and change the table.
class SharedMemoryTable {
 public:
  // Maps a part of an existing segment. ALREADY_EXISTS when the name is taken; INTERNAL when the
  // segment cannot be opened or mapped; INVALID_ARGUMENT when the part is empty or not inside the
  // segment, a name is empty, or the key is one of Triton's own (kReservedKeys);
  // RESOURCE_EXHAUSTED when kMaxGuards regions are mapped.
  absl::Status Register(const SharedMemoryDescription& description);

  // Finds `byte_size` bytes at `offset` of region `name`. NOT_FOUND when there is no such region;
  // INVALID_ARGUMENT when the bytes are not inside it; INTERNAL when the segment has been shortened
  // since it was registered.
  absl::StatusOr<SharedMemoryPart> Find(const std::string& name, std::uint64_t offset,
                                        std::uint64_t byte_size) const;

  // Removes region `name`, or all regions when `name` is empty. A region that is in use stays
  // until its last use has ended: it keeps its name, is described and can be found, as in Triton.
  // Does nothing when the region is unknown.
  void Unregister(const std::string& name);

  // Describes region `name`, or all regions when `name` is empty. NOT_FOUND when there is no such
  // region.
  absl::StatusOr<std::vector<SharedMemoryDescription>> Status(const std::string& name) const;

 private:
  struct Entry {
    std::shared_ptr<const SharedMemoryRegion> kept;  // null when it has been unregistered
    std::weak_ptr<const SharedMemoryRegion> region;
  };

  // Forgets the regions that have been unregistered and are no longer used.
  void DropEnded() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable Mutex mutex_;
  std::map<std::string, Entry> regions_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace inferpool::modelserver
