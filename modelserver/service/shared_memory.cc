#include "modelserver/service/shared_memory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include "shared/base/bus_error.h"
#include "shared/base/file_descriptor.h"

namespace inferpool::modelserver {

class SharedMemoryRegion {
 public:
  // `mapping` starts at the file's `start` (a page's beginning).
  SharedMemoryRegion(SharedMemoryDescription description, FileDescriptor file,
                     std::span<std::byte> mapping, std::uint64_t start)
      : description_(std::move(description)),
        file_(std::move(file)),
        mapping_(mapping),
        start_(start),
        guard_(std::in_place, mapping.data(), mapping.size()) {}
  ~SharedMemoryRegion() {
    guard_.reset();  // first, because unmapped addresses may be used for something else at once
    munmap(mapping_.data(), mapping_.size());
  }
  SharedMemoryRegion(const SharedMemoryRegion&) = delete;
  SharedMemoryRegion& operator=(const SharedMemoryRegion&) = delete;

  // Whether a client that shortens the segment cannot end the process.
  bool guarded() const { return guard_->active(); }

  const SharedMemoryDescription& description() const { return description_; }

  std::span<std::byte> memory() const {
    return mapping_.subspan(static_cast<std::size_t>(description_.offset - start_));
  }

  // Whether the segment has not been shortened.
  bool Whole() const {
    struct stat status = {};
    return fstat(file_.get(), &status) == 0 &&
           static_cast<std::uint64_t>(status.st_size) >= start_ + mapping_.size() &&
           !guard_->broken();
  }

 private:
  const SharedMemoryDescription description_;
  const FileDescriptor file_;
  const std::span<std::byte> mapping_;
  const std::uint64_t start_;
  std::optional<BusErrorGuard> guard_;
};

namespace {

absl::Status TooMany() {
  return absl::ResourceExhaustedError(
      fmt::format("{} shared memory regions are in use, which is the most", kMaxGuards));
}

absl::StatusOr<std::shared_ptr<const SharedMemoryRegion>> Map(
    const SharedMemoryDescription& wanted) {
  FileDescriptor file(shm_open(wanted.key.c_str(), O_RDWR | O_CLOEXEC, 0));
  if (file.get() < 0) {
    return absl::InternalError(fmt::format("Unable to open shared memory region: '{}' ({})",
                                           wanted.key, std::generic_category().message(errno)));
  }
  struct stat status = {};
  if (fstat(file.get(), &status) != 0) {
    return absl::InternalError(fmt::format("Unable to stat shared memory region: '{}' ({})",
                                           wanted.key, std::generic_category().message(errno)));
  }
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (wanted.byte_size == 0 || wanted.offset > size || wanted.byte_size > size - wanted.offset) {
    return InvalidArgument(
        "failed to register shared memory region '{}': {} bytes at {} are not inside '{}', which "
        "has {}",
        wanted.name, wanted.byte_size, wanted.offset, wanted.key, size);
  }
  const auto page = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  const std::uint64_t start = wanted.offset / page * page;
  const auto bytes = static_cast<std::size_t>(wanted.offset - start + wanted.byte_size);
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(),
                      static_cast<off_t>(start));
  if (memory == MAP_FAILED) {
    return absl::InternalError(fmt::format("Unable to map shared memory region: '{}' ({})",
                                           wanted.key, std::generic_category().message(errno)));
  }
  auto region = std::make_shared<const SharedMemoryRegion>(
      wanted, std::move(file), std::span(static_cast<std::byte*>(memory), bytes), start);
  // Regions that were unregistered while a request used them count too.
  if (!region->guarded()) return TooMany();
  return region;
}

}  // namespace

absl::Status SharedMemoryTable::Register(const SharedMemoryDescription& description) {
  if (description.name.empty() || description.key.empty()) {
    return InvalidArgument("a shared memory region needs a name and a key");
  }
  const std::size_t begin = description.key.find_first_not_of('/');
  if (begin == std::string::npos) {
    return InvalidArgument("cannot register shared memory region '{}' - invalid shm key '{}'",
                           description.name, description.key);
  }
  if (std::string_view(description.key).substr(begin).starts_with(kReservedKeys)) {
    return InvalidArgument(
        "cannot register shared memory region '{}' with key '{}' as the key contains the reserved "
        "prefix '{}'",
        description.name, description.key, kReservedKeys);
  }
  const auto taken = [&] {
    return absl::AlreadyExistsError(
        fmt::format("shared memory region '{}' already in manager", description.name));
  };
  {
    const MutexLock lock(mutex_);
    DropEnded();
    if (regions_.contains(description.name)) return taken();
    if (regions_.size() >= kMaxGuards) return TooMany();
  }
  ASSIGN_OR_RETURN(std::shared_ptr<const SharedMemoryRegion> region, Map(description));
  const MutexLock lock(mutex_);
  DropEnded();
  const bool added = regions_.emplace(description.name, Entry{region, region}).second;
  return added ? absl::OkStatus() : taken();
}

void SharedMemoryTable::DropEnded() {
  std::erase_if(regions_, [](const auto& entry) { return entry.second.region.expired(); });
}

absl::StatusOr<SharedMemoryPart> SharedMemoryTable::Find(const std::string& name,
                                                         std::uint64_t offset,
                                                         std::uint64_t byte_size) const {
  std::shared_ptr<const SharedMemoryRegion> region;
  {
    const MutexLock lock(mutex_);
    if (const auto found = regions_.find(name); found != regions_.end()) {
      region = found->second.region.lock();
    }
  }
  if (region == nullptr) {
    return absl::NotFoundError(fmt::format("Unable to find shared memory region: '{}'", name));
  }
  const std::span<std::byte> memory = region->memory();
  if (offset > memory.size() || byte_size > memory.size() - offset) {
    return InvalidArgument(
        "Invalid offset + byte size for shared memory region: '{}' has {} bytes, {} "
        "at {} are asked for",
        name, memory.size(), byte_size, offset);
  }
  if (!region->Whole()) {
    return absl::InternalError(
        fmt::format("shared memory region '{}' has been shortened since it was registered", name));
  }
  return SharedMemoryPart{std::move(region), memory.subspan(static_cast<std::size_t>(offset),
                                                            static_cast<std::size_t>(byte_size))};
}

void SharedMemoryTable::Unregister(const std::string& name) {
  // Let go of under the lock, but unmapped without it.
  std::vector<std::shared_ptr<const SharedMemoryRegion>> gone;
  const MutexLock lock(mutex_);
  DropEnded();
  for (auto& [registered, entry] : regions_) {
    if (name.empty() || registered == name) {
      gone.push_back(std::move(entry.kept));
    }
  }
}

absl::StatusOr<std::vector<SharedMemoryDescription>> SharedMemoryTable::Status(
    const std::string& name) const {
  std::vector<SharedMemoryDescription> descriptions;
  // One that ends meanwhile is unmapped without the lock.
  std::vector<std::shared_ptr<const SharedMemoryRegion>> regions;
  const MutexLock lock(mutex_);
  for (const auto& [registered, entry] : regions_) {
    const auto& region = regions.emplace_back(entry.region.lock());
    if (region != nullptr && (name.empty() || registered == name)) {
      descriptions.push_back(region->description());
    }
  }
  if (!name.empty() && descriptions.empty()) {
    return absl::NotFoundError(
        fmt::format("Unable to find system shared memory region: '{}'", name));
  }
  return descriptions;
}

}  // namespace inferpool::modelserver
