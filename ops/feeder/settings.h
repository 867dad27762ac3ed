// What the operator asks the feeder to do: the command line, and a file.
#pragma once

#include <CLI/CLI.hpp>
#include <array>
#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "shared/base/status.h"
#include "shared/redis/redis.h"

namespace inferpool::feeder {

// Into Redis as files; into shared memory as files, or as pixels.
inline constexpr std::array<std::string_view, 3> kFrames = {"redis", "shm", "raw"};

// Where a camera's pictures come from, and what is done to them.
struct SourceSettings {
  std::string address;
  double fps = 0;     // most pictures a second; 0: all, of a folder 5
  bool loop = false;  // a recording or a folder begins anew at its end
  int width = 0;      // wider pictures are scaled down to it; 0: none are
  int quality = 85;   // of JPEGs that are made here
  int wait = 0;       // no picture is sent while the stream has more; 0: the oldest are trimmed
  std::string frames = "redis";  // where its pictures go to, of kFrames

  bool in_memory() const { return frames != "redis"; }
  bool raw() const { return frames == "raw"; }

  bool operator==(const SourceSettings&) const = default;
};

struct Camera {
  std::string id;
  SourceSettings source;
};

struct Settings {
  streams::RedisAddress redis;
  std::string password_file;
  int shards = 32;
  std::string camera_set = "inferpool:cameras";
  bool remove = false;   // at the end, from the set
  int most_frames = 16;  // in a camera's stream
  int timeout_s = 10;    // for a source's next picture
  std::vector<Camera> cameras;
};

// Cameras that show the same: their pictures are read and made once.
struct Source {
  SourceSettings settings;
  std::vector<std::string> cameras;
};

// Bounds of one process: each source has a thread.
inline constexpr std::size_t kMostSources = 256;
inline constexpr std::size_t kMostCameras = 10'000;

// The slots that a source's segment in shared memory needs: as many pictures as its cameras'
// streams may have, and some for those that are on their way.
int SlotsOf(const SourceSettings& source, int most_frames);

// Adds all options to `app`. They are read in their order: those of a camera follow its --camera,
// and --config FILE is read where it stands. `settings` must live as long as `app`. An option that
// is wrong is a CLI::ValidationError.
void AddOptions(CLI::App& app, Settings& settings);

// Reads the text of a --config file into `settings`. INVALID_ARGUMENT says what is wrong, without
// a camera's address, which may have a password.
absl::Status ReadConfig(std::string_view text, Settings& settings);

// What is wrong with all of it together, if anything is, and what to do.
absl::Status Check(const Settings& settings);

// Groups the cameras by equal sources, in the order of the first of each.
std::vector<Source> SourcesOf(const std::vector<Camera>& cameras);

}  // namespace inferpool::feeder
