// One segment of shared memory that tensors lie in, so that a model server on the same host reads
// and writes them where they are.
//
// Its name in /dev/shm is there only while an exclusive flock() is held on it: whoever can take
// that lock knows that the owner is gone (sweep.h). The kernel drops the lock with the process,
// however it ends; so the owner must not fork. A name is random and never used twice: an answer
// meant for another arena cannot be taken for one of this.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <string_view>

#include "shared/base/file_descriptor.h"
#include "shared/base/mutex.h"
#include "shared/base/status.h"
#include "worker/backend/shm/offset_allocator.h"

namespace inferpool::backend {

class Arena;

// The names of a domain's segments begin with this; an arena's own generation follows, as 16
// hexadecimal digits. `domain`: any text that the workers of one pool have in common.
std::string SegmentPrefix(std::string_view domain);

// Where a segment of that name is a file.
std::string SegmentPath(std::string_view name);

// The use of a block of memory, 64-byte aligned; its end gives the block back. One thread at a
// time, but for Retire, which is thread safe.
class Lease {
 public:
  Lease() = default;  // of nothing
  // A block outside of any arena, for tensors that go inline. Of nothing when there is no memory.
  static Lease OnHeap(std::size_t bytes);

  Lease(Lease&& other) noexcept;
  Lease& operator=(Lease&& other) noexcept;
  ~Lease() { End(); }

  explicit operator bool() const { return data_ != nullptr; }
  std::span<std::byte> bytes() const { return {data_, bytes_}; }

  // Null for a block on the heap. The arena lives as long as any of its leases.
  const std::shared_ptr<Arena>& arena() const { return arena_; }
  // From the begin of the arena.
  std::size_t offset() const { return offset_; }

  // The call that the block was for may still be in work at the server, which may write to it at
  // any time: the block is never used again. To be said before the lease ends.
  void Retire() { retired_ = true; }

 private:
  friend class Arena;
  struct FreeAligned {
    void operator()(std::byte* data) const {
      ::operator delete[](data, std::align_val_t{OffsetAllocator::kAlignment});
    }
  };

  void End();
  void Take(Lease& other);

  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
  std::size_t offset_ = 0;
  std::shared_ptr<Arena> arena_;
  std::unique_ptr<std::byte[], FreeAligned> heap_;
  std::atomic<bool> retired_ = false;
};

// Thread safe.
class Arena : public std::enable_shared_from_this<Arena> {
 public:
  // All of its memory is reserved now: RESOURCE_EXHAUSTED when /dev/shm has no room (docker gives
  // 64 MB), rather than a SIGBUS later. UNAVAILABLE: there is no /dev/shm as this needs it.
  static absl::StatusOr<std::shared_ptr<Arena>> Create(std::string_view domain, std::size_t bytes);

  // The name goes too, unless a server may know it: then the sweep takes the name away once the
  // servers were told.
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // In /dev/shm, and the region's name at the servers.
  const std::string& name() const { return name_; }
  std::size_t size() const { return size_; }

  // Returns a block with the contents that it happens to have; an empty lease when there is no
  // room.
  Lease Allocate(std::size_t bytes);

  // Half of it is retired: it is time for another arena.
  bool Worn() const;

  // A server is about to be told the name.
  void GiveOut() { given_out_ = true; }

 private:
  friend class Lease;
  Arena(std::string name, FileDescriptor file, std::byte* memory, std::size_t size);
  void GiveBack(const Lease& lease);

  const std::string name_;
  const FileDescriptor file_;  // holds the lock
  std::byte* const memory_;
  const std::size_t size_;
  std::atomic<bool> given_out_ = false;

  mutable Mutex mutex_;
  OffsetAllocator free_ ABSL_GUARDED_BY(mutex_);
  std::size_t retired_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace inferpool::backend
