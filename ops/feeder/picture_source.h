// What pictures come from, once it is open.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "ops/feeder/jpeg_writer.h"
#include "ops/feeder/pacing.h"
#include "ops/feeder/settings.h"
#include "ops/feeder/watchdog.h"
#include "shared/base/status.h"

namespace inferpool::feeder {

// For one thread at a time.
class PictureSource {
 public:
  virtual ~PictureSource() = default;

  // Whether pictures come when they are there, as from a camera; those of a recording come when we
  // read them.
  virtual bool live() const = 0;

  // Asked of each picture in its order, with its time in the recording; only what is wanted is
  // made into a file.
  using Wanted = std::function<bool(std::optional<MediaTime> own)>;

  // Reads up to the next picture that is wanted, and puts its file into `picture`: JPEG, PNG or
  // WebP. False at the end. UNAVAILABLE: the source is away or says nothing; any other error: it
  // cannot be read.
  virtual absl::StatusOr<bool> Read(const Wanted& wanted, std::string& picture) = 0;

  // The size of the latest picture where the settings ask for pixels, which it then is: rows of BGR
  // without gaps. Otherwise 0 x 0.
  virtual PictureSize raw_size() const = 0;
};

// Opens a source by its address. What was said in the log about it the first time is not said
// `again`. `settings` and `watchdog` must live as long as the source.
absl::StatusOr<std::unique_ptr<PictureSource>> OpenSource(const SourceSettings& settings,
                                                          Watchdog& watchdog, bool again);

}  // namespace inferpool::feeder
