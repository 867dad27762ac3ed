#include "worker/backend/shm/arena.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <cerrno>
#include <cstdint>
#include <system_error>
#include <utility>

namespace inferpool::backend {
namespace {

constexpr const char* kFolder = "/dev/shm";

absl::Status Failed(std::string_view what, int error) {
  const std::string text = fmt::format("a segment of shared memory: {}: {}", what,
                                       std::generic_category().message(error));
  return error == ENOSPC || error == ENOMEM || error == EDQUOT || error == EFBIG
             ? absl::ResourceExhaustedError(text)
             : absl::UnavailableError(text);
}

// posix_fallocate, which answers an error number, begun anew when a signal ends it.
int Reserve(int file, std::size_t bytes) {
  int error = 0;
  do {
    error = posix_fallocate(file, 0, static_cast<off_t>(bytes));
  } while (error == EINTR);
  return error;
}

}  // namespace

std::string SegmentPrefix(std::string_view domain) {
  return fmt::format("inferpool-{:08x}-", XXH32(domain.data(), domain.size(), 0));
}

std::string SegmentPath(std::string_view name) {
  return fmt::format("{}/{}", kFolder, name);
}

Lease Lease::OnHeap(std::size_t bytes) {
  Lease lease;
  if (!std::in_range<std::ptrdiff_t>(bytes)) return lease;
  lease.heap_.reset(static_cast<std::byte*>(
      ::operator new[](OffsetAllocator::Rounded(bytes),
                       std::align_val_t{OffsetAllocator::kAlignment}, std::nothrow)));
  lease.data_ = lease.heap_.get();
  lease.bytes_ = lease.data_ == nullptr ? 0 : bytes;
  return lease;
}

Lease::Lease(Lease&& other) noexcept {
  Take(other);
}

Lease& Lease::operator=(Lease&& other) noexcept {
  if (this != &other) {
    End();
    Take(other);
  }
  return *this;
}

void Lease::Take(Lease& other) {
  data_ = std::exchange(other.data_, nullptr);
  bytes_ = std::exchange(other.bytes_, 0);
  offset_ = std::exchange(other.offset_, 0);
  arena_ = std::move(other.arena_);
  heap_ = std::move(other.heap_);
  retired_ = other.retired_.exchange(false);
}

void Lease::End() {
  if (arena_ != nullptr) arena_->GiveBack(*this);
  arena_.reset();
  heap_.reset();
  data_ = nullptr;
}

absl::StatusOr<std::shared_ptr<Arena>> Arena::Create(std::string_view domain, std::size_t bytes) {
  FileDescriptor file(open(kFolder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0660));
  if (!file) return Failed(kFolder, errno);
  if (fchmod(file.get(), 0660) != 0) return Failed("fchmod", errno);  // whatever the umask
  if (const int error = Reserve(file.get(), bytes); error != 0) {
    return Failed(fmt::format("{} bytes in {}", bytes, kFolder), error);
  }
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (memory == MAP_FAILED) return Failed("mmap", errno);

  // From here on the arena's end unmaps.
  std::uint64_t generation = 0;
  if (getrandom(&generation, sizeof generation, 0) != sizeof generation) {
    const int error = errno;
    munmap(memory, bytes);
    return Failed("getrandom", error);
  }
  std::shared_ptr<Arena> arena(
      new Arena(fmt::format("{}{:016x}", SegmentPrefix(domain), generation), std::move(file),
                static_cast<std::byte*>(memory), bytes));
  if (flock(arena->file_.get(), LOCK_EX | LOCK_NB) != 0) return Failed("flock", errno);
  // The name comes last: nobody ever sees it without its lock and its memory.
  if (linkat(AT_FDCWD, fmt::format("/proc/self/fd/{}", arena->file_.get()).c_str(), AT_FDCWD,
             SegmentPath(arena->name_).c_str(), AT_SYMLINK_FOLLOW) != 0) {
    const int error = errno;
    arena->GiveOut();  // the name, should it be there, is not ours
    return Failed("linkat", error);
  }
  return arena;
}

Arena::Arena(std::string name, FileDescriptor file, std::byte* memory, std::size_t size)
    : name_(std::move(name)), file_(std::move(file)), memory_(memory), size_(size), free_(size) {}

Arena::~Arena() {
  if (!given_out_) unlink(SegmentPath(name_).c_str());
  munmap(memory_, size_);
}

Lease Arena::Allocate(std::size_t bytes) {
  Lease lease;
  const MutexLock lock(mutex_);
  const std::optional<std::size_t> offset = free_.Allocate(bytes);
  if (!offset) return lease;
  lease.data_ = memory_ + *offset;
  lease.bytes_ = bytes;
  lease.offset_ = *offset;
  lease.arena_ = shared_from_this();
  return lease;
}

void Arena::GiveBack(const Lease& lease) {
  const MutexLock lock(mutex_);
  if (lease.retired_) {
    retired_bytes_ += OffsetAllocator::Rounded(lease.bytes_);
  } else {
    free_.Free(lease.offset_, lease.bytes_);
  }
}

bool Arena::Worn() const {
  const MutexLock lock(mutex_);
  return retired_bytes_ >= size_ / 2;
}

}  // namespace inferpool::backend
