#include "shared/frames/segments.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "shared/base/bus_error.h"
#include "shared/base/check.h"
#include "shared/base/file_descriptor.h"
#include "shared/frames/inferpool_frames.h"

namespace inferpool::frames {
namespace {

constexpr std::size_t kMostSegments = 1'024;
constexpr std::chrono::seconds kUnused{60};
constexpr std::chrono::seconds kUnusedWithoutName{1};
// For so long a producer may take to see that a slot is pinned: some instructions, unless it loses
// the processor among them.
constexpr int kLooks = 4;
constexpr int kYields = 64;
constexpr int kNaps = 200;
constexpr std::chrono::microseconds kNap{100};

absl::Status Gone(std::string_view what) {
  return absl::NotFoundError(fmt::format("the frame is gone: {}", what));
}

absl::Status Failed(std::string_view what, int error) {
  const std::string text = fmt::format("{}: {}", what, std::generic_category().message(error));
  return error == EMFILE || error == ENFILE || error == ENOMEM ? absl::ResourceExhaustedError(text)
                                                               : absl::InvalidArgumentError(text);
}

std::uint64_t Load(std::uint64_t& shared) {
  return std::atomic_ref(shared).load(std::memory_order_seq_cst);
}

}  // namespace

// One mapped segment and our row in it. Thread safe.
class Segment {
 public:
  static absl::StatusOr<std::shared_ptr<Segment>> Open(const std::string& folder,
                                                       const std::string& name);
  Segment(FileDescriptor file, const struct stat& status, std::string path,
          std::span<std::byte> memory, const inferpool_frames_header& header, std::uint32_t row)
      : file_(std::move(file)),
        device_(status.st_dev),
        inode_(status.st_ino),
        path_(std::move(path)),
        memory_(memory),
        slots_(header.slots),
        slot_bytes_(header.slot_bytes),
        row_(inferpool_frames_rows_of(memory.data())[row]),
        guard_(std::in_place, memory.data(), memory.size()),
        pins_(header.slots) {}
  ~Segment();
  Segment(const Segment&) = delete;
  Segment& operator=(const Segment&) = delete;

  absl::Status Pin(const Handle& handle);
  void Unpin(std::uint32_t slot);

  std::uint64_t GenerationOf(std::uint32_t slot) const { return Load(SlotOf(slot).generation); }
  bool broken() const { return guard_->broken(); }
  bool guarded() const { return guard_->active(); }

  // Whether its name leads to another file by now, and whether it has any name left.
  bool IsReplaced() const {
    struct stat status {};
    return lstat(path_.c_str(), &status) == 0 &&
           (status.st_ino != inode_ || status.st_dev != device_);
  }
  bool HasName() const {
    struct stat status {};
    return fstat(file_.get(), &status) != 0 || status.st_nlink > 0;
  }

  std::size_t OffsetOf(std::uint32_t slot) const {
    return INFERPOOL_FRAMES_DATA_AT + slot * static_cast<std::size_t>(slot_bytes_);
  }
  std::span<std::byte> memory() const { return memory_; }

  // Begins with an empty row, whatever a dead reader left in it.
  void ClearRow() {
    for (std::uint64_t& word : row_.pins) std::atomic_ref(word).store(0);
  }

 private:
  inferpool_frames_slot& SlotOf(std::uint32_t slot) const {
    return inferpool_frames_slots_of(memory_.data())[slot];
  }
  void StoreWord(std::uint32_t slot) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const FileDescriptor file_;  // holds the row's lock
  const dev_t device_;
  const ino_t inode_;  // no other file's, as long as this one is open
  const std::string path_;
  const std::span<std::byte> memory_;
  const std::uint32_t slots_;
  const std::uint64_t slot_bytes_;
  inferpool_frames_row& row_;
  std::optional<BusErrorGuard> guard_;
  Mutex mutex_;
  std::vector<std::uint32_t> pins_ ABSL_GUARDED_BY(mutex_);  // of each slot
  // What is in our row. It is never read from there.
  std::array<std::uint64_t, INFERPOOL_FRAMES_WORDS> words_ ABSL_GUARDED_BY(mutex_){};
};

absl::StatusOr<std::shared_ptr<Segment>> Segment::Open(const std::string& folder,
                                                       const std::string& name) {
  std::string path = fmt::format("{}/{}", folder, name);
  FileDescriptor file(open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!file) {
    return errno == ENOENT ? Gone("there is no such segment")
                           : Failed("the segment cannot be opened", errno);
  }
  struct stat status {};
  if (fstat(file.get(), &status) != 0) return Failed("fstat", errno);
  if (!S_ISREG(status.st_mode)) return InvalidArgument("{} is no file", name);
  if ((status.st_uid != geteuid() && status.st_uid != 0) || (status.st_mode & S_IWOTH) != 0) {
    return InvalidArgument("{} belongs to somebody else, or all may write to it", name);
  }
  // Read and not looked at in the mapping: it must not change after it was checked.
  inferpool_frames_header header{};
  const ssize_t got = pread(file.get(), &header, sizeof header, 0);
  if (got != ssize_t{sizeof header} ||
      std::memcmp(header.magic, INFERPOOL_FRAMES_MAGIC, sizeof header.magic) != 0 ||
      header.version != INFERPOOL_FRAMES_VERSION) {
    return InvalidArgument("{} is no segment of frames, or of another version", name);
  }
  const auto size = static_cast<std::uint64_t>(status.st_size);
  const std::uint64_t most = std::uint64_t{1} << 32;
  if (header.slots < 1 || header.slots > INFERPOOL_FRAMES_MAX_SLOTS || header.slot_bytes < 1 ||
      header.slot_bytes > most || header.slot_bytes % INFERPOOL_FRAMES_PAGE != 0 ||
      size < INFERPOOL_FRAMES_DATA_AT + header.slots * header.slot_bytes) {
    return InvalidArgument("{} has a size or a geometry that no segment has", name);
  }
  std::uint32_t row = 0;
  while (row < INFERPOOL_FRAMES_ROWS &&
         inferpool_frames_lock(file.get(), inferpool_frames_row_byte(row), F_WRLCK) != 0) {
    ++row;
  }
  if (row == INFERPOOL_FRAMES_ROWS) {
    return absl::ResourceExhaustedError(
        fmt::format("{} has {} readers, which is the most", name, INFERPOOL_FRAMES_ROWS));
  }
  const auto bytes =
      static_cast<std::size_t>(INFERPOOL_FRAMES_DATA_AT + header.slots * header.slot_bytes);
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (memory == MAP_FAILED) return Failed("mmap", errno);
  auto segment =
      std::make_shared<Segment>(std::move(file), status, std::move(path),
                                std::span(static_cast<std::byte*>(memory), bytes), header, row);
  if (!segment->guarded()) {
    return absl::ResourceExhaustedError("too many segments of shared memory are open");
  }
  segment->ClearRow();
  return segment;
}

Segment::~Segment() {
  // Of a producer that was killed. One that lives, or has taken the name away, needs nobody.
  if (inferpool_frames_lock(file_.get(), 0, F_WRLCK) == 0 && !IsReplaced()) unlink(path_.c_str());
  guard_.reset();  // first: what is unmapped may be used for something else at once
  munmap(memory_.data(), memory_.size());
}

// The bit first, then the generation; the producer does it the other way round.
absl::Status Segment::Pin(const Handle& handle) {
  if (handle.slot >= slots_ || handle.bytes > slot_bytes_) {
    return InvalidArgument("{} has no such slot", handle.segment);
  }
  {
    const MutexLock lock(mutex_);
    ++pins_[handle.slot];
    StoreWord(handle.slot);
  }
  for (int i = 0; i < kLooks; ++i) {
    const std::uint64_t generation = GenerationOf(handle.slot);
    if (generation == handle.generation && !broken()) return absl::OkStatus();
    // The next one: it is being written there, or is about not to be, as somebody has a pin.
    if (generation != handle.generation + 1) break;
    std::this_thread::yield();
  }
  Unpin(handle.slot);
  return Gone("another one was written there");
}

void Segment::Unpin(std::uint32_t slot) {
  const MutexLock lock(mutex_);
  CHECK(pins_[slot] > 0);
  --pins_[slot];
  StoreWord(slot);
}

void Segment::StoreWord(std::uint32_t slot) {
  const std::uint64_t bit = std::uint64_t{1} << (slot % 64);
  std::uint64_t& word = words_[slot / 64];
  word = pins_[slot] > 0 ? word | bit : word & ~bit;
  std::atomic_ref(row_.pins[slot / 64]).store(word, std::memory_order_seq_cst);
}

// ---- Pin

Pin::Pin(std::shared_ptr<Segment> segment, const Handle& handle)
    : segment_(std::move(segment)),
      slot_(handle.slot),
      generation_(handle.generation),
      bytes_(segment_->memory().subspan(segment_->OffsetOf(slot_),
                                        static_cast<std::size_t>(handle.bytes))) {}

Pin::Pin(Pin&& other) noexcept
    : segment_(std::move(other.segment_)),
      slot_(other.slot_),
      generation_(other.generation_),
      bytes_(std::exchange(other.bytes_, {})) {}

Pin& Pin::operator=(Pin&& other) noexcept {
  if (this != &other) {
    End();
    segment_ = std::move(other.segment_);
    slot_ = other.slot_;
    generation_ = other.generation_;
    bytes_ = std::exchange(other.bytes_, {});
  }
  return *this;
}

void Pin::End() {
  if (segment_ == nullptr) return;
  segment_->Unpin(slot_);
  segment_.reset();
}

bool Pin::IsWhole() const {
  std::atomic_signal_fence(std::memory_order_seq_cst);
  if (segment_ == nullptr) return false;
  for (int i = 0; i < kYields + kNaps; ++i) {
    const std::uint64_t generation = segment_->GenerationOf(slot_);
    if (segment_->broken()) return false;
    if (generation == generation_) return true;
    // The next one: the producer wanted to write, and is just about to see our pin.
    if (generation != generation_ + 1) return false;
    if (i < kYields) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(kNap);
    }
  }
  return false;
}

// ---- Segments

Segments::Segments(std::string boot_id, std::string folder)
    : folder_(std::move(folder)), boot_id_(boot_id.empty() ? BootId() : std::move(boot_id)) {}

Segments::~Segments() = default;

absl::StatusOr<Pin> Segments::Get(const Handle& handle, TimePoint now) {
  if (handle.boot_id != boot_id_) return Gone("it was of another machine, or before a restart");
  if (!IsSegmentName(handle.segment)) return InvalidArgument("no segment has such a name");
  ASSIGN_OR_RETURN(std::shared_ptr<Segment> segment, Find(handle.segment, now));
  RETURN_IF_ERROR(segment->Pin(handle));
  return Pin(std::move(segment), handle);
}

absl::StatusOr<std::shared_ptr<Segment>> Segments::Find(const std::string& name, TimePoint now) {
  const MutexLock lock(mutex_);
  const auto found = open_.find(name);
  if (found != open_.end()) {
    Entry& entry = found->second;
    if (!entry.segment->broken() && !entry.segment->IsReplaced()) {
      entry.used = now;
      return entry.segment;
    }
    open_.erase(found);
  }
  if (open_.size() >= kMostSegments) {
    return absl::ResourceExhaustedError("too many segments of shared memory are open");
  }
  ASSIGN_OR_RETURN(std::shared_ptr<Segment> segment, Segment::Open(folder_, name));
  open_.emplace(name, Entry{.segment = segment, .used = now});
  return segment;
}

void Segments::Tidy(TimePoint now) {
  std::vector<std::shared_ptr<Segment>> unused;  // end after the lock: that takes a while
  const MutexLock lock(mutex_);
  std::erase_if(open_, [now, &unused](const auto& named) {
    const Entry& entry = named.second;
    if (entry.segment.use_count() > 1) return false;  // with a lock, no pins can come
    if (now - entry.used < (entry.segment->HasName() ? kUnused : kUnusedWithoutName)) return false;
    unused.push_back(entry.segment);
    return true;
  });
}

std::size_t Segments::open() const {
  const MutexLock lock(mutex_);
  return open_.size();
}

std::string BootId() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(file, id);
  return id;
}

}  // namespace inferpool::frames
