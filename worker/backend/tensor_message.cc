#include "worker/backend/tensor_message.h"

#include <fmt/format.h>
#include <google/protobuf/io/coded_stream.h>
#include <grpcpp/support/slice.h>

#include <algorithm>
#include <climits>
#include <cstring>
#include <string>
#include <utility>

namespace inferpool::backend {
namespace {

using google::protobuf::io::CodedOutputStream;

// The low three bits of a tag, by which what follows can be skipped.
enum WireType { kVarint = 0, kFixed64 = 1, kLengthDelimited = 2, kFixed32 = 5 };

constexpr std::uint32_t Tag(int field, WireType type) {
  return static_cast<std::uint32_t>(field) << 3 | type;
}

// A copy of so little costs less than a slice with an owner.
constexpr std::size_t kCopied = 512;
// Of one answer; more would be a way to make us take far more memory than was sent.
constexpr std::size_t kMaxRawEntries = 4096;
// What TensorView's data is aligned to, unless it is the server's own doing.
constexpr std::size_t kAlignment = 8;

void AppendVarint(std::uint32_t value, std::string& text) {
  std::uint8_t bytes[5];
  const std::uint8_t* end = CodedOutputStream::WriteVarint32ToArray(value, bytes);
  text.append(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(end - bytes));
}

grpc::Slice Borrow(const RawInput& raw) {
  auto* owner = new std::shared_ptr<const void>(raw.owner);
  return {const_cast<std::byte*>(raw.data.data()), raw.data.size(),
          [](void* held) { delete static_cast<std::shared_ptr<const void>*>(held); }, owner};
}

// What gRPC received: one message in any number of pieces.
class Pieces {
 public:
  explicit Pieces(std::vector<grpc::Slice> slices) : slices_(std::move(slices)) {
    for (const grpc::Slice& slice : slices_) size_ += slice.size();
  }
  Pieces(const Pieces&) = delete;
  Pieces& operator=(const Pieces&) = delete;

  std::size_t size() const { return size_; }
  std::size_t count() const { return slices_.size(); }
  std::span<const std::byte> operator[](std::size_t i) const {
    return std::as_bytes(std::span(slices_[i].begin(), slices_[i].size()));
  }

 private:
  const std::vector<grpc::Slice> slices_;  // a small one has its bytes in itself: it never moves
  std::size_t size_ = 0;
};

// A position in Pieces. All that moves it answers false where the message ends too early; the
// position is of no use then.
class Cursor {
 public:
  explicit Cursor(const Pieces& pieces) : pieces_(&pieces), left_(pieces.size()) { Settle(); }

  std::size_t left() const { return left_; }

  bool Varint(std::uint64_t& value) {
    value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (left_ == 0) return false;
      const auto byte = std::to_integer<std::uint64_t>((*pieces_)[piece_][offset_]);
      Advance(1);
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }

  bool Skip(std::uint64_t bytes) {
    if (bytes > left_) return false;
    while (bytes > 0) bytes -= Advance(Run(bytes));
    return true;
  }

  bool SkipField(std::uint64_t tag) {
    std::uint64_t value = 0;
    switch (tag & 7) {
      case kVarint:
        return Varint(value);
      case kFixed64:
        return Skip(8);
      case kLengthDelimited:
        return Varint(value) && Skip(value);
      case kFixed32:
        return Skip(4);
      default:
        return false;
    }
  }

  // The next `bytes`, which are there, when they are in one piece and aligned.
  bool View(std::size_t bytes, std::span<const std::byte>& view) const {
    if (bytes == 0) return true;
    if (Run(bytes) < bytes) return false;
    view = (*pieces_)[piece_].subspan(offset_, bytes);
    return reinterpret_cast<std::uintptr_t>(view.data()) % kAlignment == 0;
  }

  // Copies the next `bytes`, which are there.
  void Copy(std::size_t bytes, std::byte* to) {
    while (bytes > 0) {
      const std::size_t run = Run(bytes);
      std::memcpy(to, (*pieces_)[piece_].data() + offset_, run);
      to += run;
      bytes -= Advance(run);
    }
  }

 private:
  // How many of `bytes` are in this piece.
  std::size_t Run(std::uint64_t bytes) const {
    return static_cast<std::size_t>(
        std::min<std::uint64_t>(bytes, (*pieces_)[piece_].size() - offset_));
  }

  std::size_t Advance(std::size_t bytes) {
    offset_ += bytes;
    left_ -= bytes;
    Settle();
    return bytes;
  }

  // To the next piece that has something, unless there is none.
  void Settle() {
    while (left_ > 0 && offset_ == (*pieces_)[piece_].size()) {
      ++piece_;
      offset_ = 0;
    }
  }

  const Pieces* pieces_;
  std::size_t left_;
  std::size_t piece_ = 0;
  std::size_t offset_ = 0;
};

struct Located {
  Cursor at;
  std::size_t bytes;
};

// Takes the message apart: where its raw entries are, and all other fields.
absl::Status Split(const Pieces& pieces, std::vector<Located>& raw, std::string& others) {
  constexpr auto kRaw =
      Tag(inference::ModelInferResponse::kRawOutputContentsFieldNumber, kLengthDelimited);
  const auto broken = [] {
    return absl::InternalError("the model server's answer is not a ModelInferResponse");
  };
  Cursor cursor(pieces);
  while (cursor.left() > 0) {
    Cursor begin = cursor;
    std::uint64_t tag = 0;
    if (!cursor.Varint(tag) || tag > UINT32_MAX) return broken();
    if (tag == kRaw) {
      std::uint64_t bytes = 0;
      if (!cursor.Varint(bytes)) return broken();
      raw.push_back({cursor, static_cast<std::size_t>(bytes)});
      if (!cursor.Skip(bytes)) return broken();
      if (raw.size() > kMaxRawEntries) {
        return absl::InvalidArgumentError("the model server's answer has too many outputs");
      }
    } else {
      if (!cursor.SkipField(tag)) return broken();
      const std::size_t bytes = begin.left() - cursor.left();
      others.resize(others.size() + bytes);
      begin.Copy(bytes, reinterpret_cast<std::byte*>(others.data() + others.size() - bytes));
    }
  }
  return absl::OkStatus();
}

// What an answer's raw contents lie in.
struct Storage {
  explicit Storage(std::vector<grpc::Slice> slices) : pieces(std::move(slices)) {}

  Pieces pieces;
  std::unique_ptr<std::byte[]> copied;
};

std::size_t Padded(std::size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

// Each entry's bytes, in place or copied to `storage`.
std::vector<std::span<const std::byte>> Views(std::vector<Located> raw, Storage& storage) {
  std::vector<std::span<const std::byte>> views(raw.size());
  std::size_t to_copy = 0;
  for (std::size_t i = 0; i < raw.size(); ++i) {
    if (!raw[i].at.View(raw[i].bytes, views[i])) {
      views[i] = {};
      to_copy += Padded(raw[i].bytes);
    }
  }
  if (to_copy == 0) return views;
  storage.copied = std::make_unique_for_overwrite<std::byte[]>(to_copy);
  std::byte* to = storage.copied.get();
  for (std::size_t i = 0; i < raw.size(); ++i) {
    if (!views[i].empty() || raw[i].bytes == 0) continue;
    raw[i].at.Copy(raw[i].bytes, to);
    views[i] = {to, raw[i].bytes};
    to += Padded(raw[i].bytes);
  }
  return views;
}

}  // namespace

absl::StatusOr<grpc::ByteBuffer> Encode(const inference::ModelInferRequest& request,
                                        std::span<const RawInput> raw) {
  constexpr auto kRaw =
      Tag(inference::ModelInferRequest::kRawInputContentsFieldNumber, kLengthDelimited);
  std::size_t total = request.ByteSizeLong();
  for (const RawInput& entry : raw) {
    total += entry.data.size() + 1 + CodedOutputStream::VarintSize64(entry.data.size());
  }
  if (total > INT_MAX) {
    return absl::InvalidArgumentError(fmt::format("the request has {} bytes", total));
  }
  std::vector<grpc::Slice> slices;
  std::string text;
  request.AppendToString(&text);
  for (const RawInput& entry : raw) {
    AppendVarint(kRaw, text);
    AppendVarint(static_cast<std::uint32_t>(entry.data.size()), text);
    if (entry.data.size() <= kCopied) {
      text.append(reinterpret_cast<const char*>(entry.data.data()), entry.data.size());
      continue;
    }
    slices.emplace_back(text);
    slices.push_back(Borrow(entry));
    text.clear();
  }
  if (!text.empty() || slices.empty()) slices.emplace_back(text);
  return grpc::ByteBuffer(slices.data(), slices.size());
}

void PutInSharedMemory(const Lease& lease, std::size_t offset, std::size_t bytes,
                       google::protobuf::Map<std::string, inference::InferParameter>& parameters) {
  parameters["shared_memory_region"].set_string_param(lease.arena()->name());
  parameters["shared_memory_byte_size"].set_int64_param(static_cast<std::int64_t>(bytes));
  parameters["shared_memory_offset"].set_int64_param(
      static_cast<std::int64_t>(lease.offset() + offset));
}

absl::StatusOr<InferAnswer> Decode(const grpc::ByteBuffer& buffer,
                                   std::vector<OutputPlace> places) {
  std::vector<grpc::Slice> slices;
  if (!buffer.Dump(&slices).ok()) {
    return absl::InternalError("the model server's answer cannot be read");
  }
  const auto storage = std::make_shared<Storage>(std::move(slices));
  std::vector<Located> raw;
  std::string others;
  RETURN_IF_ERROR(Split(storage->pieces, raw, others));
  inference::ModelInferResponse message;
  if (!message.ParseFromString(others)) {
    return absl::InternalError("the model server's answer is not a ModelInferResponse");
  }
  return InferAnswer::Make(std::move(message), Views(std::move(raw), *storage), std::move(places),
                           storage);
}

}  // namespace inferpool::backend
