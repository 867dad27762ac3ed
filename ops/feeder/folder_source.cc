#include "ops/feeder/folder_source.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <ios>
#include <system_error>
#include <utility>

#include "ops/feeder/addresses.h"
#include "ops/feeder/media_source.h"
#include "shared/base/ascii.h"
#include "shared/base/log.h"

namespace inferpool::feeder {
namespace {

constexpr double kUsualFps = 5;
constexpr std::uintmax_t kMostBytes = 64 << 20;

bool IsPictureName(const std::filesystem::path& path) {
  constexpr std::array<std::string_view, 4> kEndings = {".jpg", ".jpeg", ".png", ".webp"};
  const std::string ending = LowerCase(path.extension().string());
  return std::ranges::find(kEndings, ending) != kEndings.end();
}

bool IsPicture(std::string_view bytes) {
  return bytes.starts_with("\xff\xd8\xff") || bytes.starts_with("\x89PNG\r\n\x1a\n") ||
         (bytes.starts_with("RIFF") && bytes.substr(0, 12).ends_with("WEBP"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<FolderSource>> FolderSource::Open(const SourceSettings& settings,
                                                                 Watchdog& watchdog, bool again) {
  std::unique_ptr<FolderSource> source(new FolderSource(settings, watchdog, again));
  std::error_code error;
  for (std::filesystem::directory_iterator entry(settings.address, error), end;
       !error && entry != end; entry.increment(error)) {
    std::error_code ignored;
    if (IsPictureName(entry->path()) && entry->is_regular_file(ignored)) {
      source->paths_.push_back(entry->path().string());
    }
  }
  if (error) return absl::UnavailableError(error.message());
  if (source->paths_.empty()) return absl::UnavailableError("there is no picture in the folder");
  std::ranges::sort(source->paths_);
  return source;
}

absl::StatusOr<bool> FolderSource::Read(const Wanted& wanted, std::string& picture) {
  const auto interval = std::chrono::duration_cast<MediaTime>(
      std::chrono::duration<double>(1 / (settings_.fps > 0 ? settings_.fps : kUsualFps)));
  while (next_ < paths_.size()) {
    if (watchdog_.stopped()) return absl::CancelledError("we were asked to end");
    const auto number = static_cast<MediaTime::rep>(next_);
    const std::string& path = paths_[next_++];
    if (const absl::Status status = ReadFile(path, picture); !status.ok()) {
      if (!again_) log::Warning("picture left out", {{"file", path}, {"reason", Message(status)}});
      continue;
    }
    if (wanted(number * interval)) return true;
  }
  return false;
}

absl::Status FolderSource::ReadFile(const std::string& path, std::string& picture) {
  if (settings_.width > 0 || settings_.raw()) {
    // It is decoded only if it is too wide, or no JPEG, or to be pixels.
    ASSIGN_OR_RETURN(const auto media, MediaSource::Open(path, settings_, watchdog_));
    ASSIGN_OR_RETURN(const bool has_picture, media->Read([](auto) { return true; }, picture));
    raw_size_ = media->raw_size();
    return has_picture ? absl::OkStatus() : absl::UnavailableError("there is no picture in it");
  }
  std::error_code error;
  const std::uintmax_t size = std::filesystem::file_size(path, error);
  if (error) return absl::UnavailableError(error.message());
  if (size > kMostBytes) return absl::UnavailableError("it has more than 64 MB");
  std::ifstream file(path, std::ios::binary);
  picture.resize(size);
  if (!file.read(picture.data(), static_cast<std::streamsize>(size))) {
    return absl::UnavailableError("it cannot be read");
  }
  return IsPicture(picture) ? absl::OkStatus()
                            : absl::UnavailableError("it is no JPEG, PNG or WebP");
}

absl::StatusOr<std::unique_ptr<PictureSource>> OpenSource(const SourceSettings& settings,
                                                          Watchdog& watchdog, bool again) {
  if (KindOf(settings.address) == AddressKind::kFolder) {
    return FolderSource::Open(settings, watchdog, again);
  }
  return MediaSource::Open(settings.address, settings, watchdog);
}

}  // namespace inferpool::feeder
