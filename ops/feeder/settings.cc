#include "ops/feeder/settings.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <json/value.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <set>
#include <system_error>
#include <utility>

#include "ops/feeder/addresses.h"
#include "shared/base/strict_json.h"
#include "shared/redis/names.h"

namespace inferpool::feeder {
namespace {

constexpr std::size_t kMostConfigBytes = 16 << 20;
constexpr std::size_t kMostJsonValues = 200'000;

struct Range {
  double least;
  double most;
};
constexpr Range kFps{0.001, 1'000};
constexpr Range kWidth{16, 16'384};
constexpr Range kQuality{1, 100};
constexpr Range kWait{1, 1'000'000};
constexpr Range kShards{1, 1'000};
constexpr Range kMostFrames{1, 100'000};
constexpr Range kTimeoutS{1, 3'600};
constexpr int kMostSlots = 256;  // of a segment

// One key of an object of the file, for one of the types that there are.
absl::Status Wrong(std::string_view key, std::string_view wanted) {
  return InvalidArgument("\"{}\" must be {}", key, wanted);
}

absl::Status Read(std::string_view key, const Json::Value& value, std::string& into) {
  if (!value.isString()) return Wrong(key, "a text");
  into = value.asString();
  return absl::OkStatus();
}

absl::Status Read(std::string_view key, const Json::Value& value, bool& into) {
  if (!value.isBool()) return Wrong(key, "true or false");
  into = value.asBool();
  return absl::OkStatus();
}

absl::Status Read(std::string_view key, const Json::Value& value, Range range, double& into) {
  if (!value.isNumeric() || value.asDouble() < range.least || value.asDouble() > range.most) {
    return Wrong(key, fmt::format("a number from {} to {}", range.least, range.most));
  }
  into = value.asDouble();
  return absl::OkStatus();
}

absl::Status Read(std::string_view key, const Json::Value& value, Range range, int& into) {
  if (!value.isInt() || value.asInt() < range.least || value.asInt() > range.most) {
    return Wrong(key, fmt::format("a whole number from {} to {}", range.least, range.most));
  }
  into = value.asInt();
  return absl::OkStatus();
}

absl::Status ReadSourceKey(const std::string& key, const Json::Value& value,
                           SourceSettings& source) {
  if (key == "source") return Read(key, value, source.address);
  if (key == "fps") return Read(key, value, kFps, source.fps);
  if (key == "loop") return Read(key, value, source.loop);
  if (key == "width") return Read(key, value, kWidth, source.width);
  if (key == "quality") return Read(key, value, kQuality, source.quality);
  if (key == "wait") return Read(key, value, kWait, source.wait);
  if (key == "frames") {
    RETURN_IF_ERROR(Read(key, value, source.frames));
    if (std::ranges::find(kFrames, source.frames) != kFrames.end()) return absl::OkStatus();
    return Wrong(key, fmt::format("one of {}", fmt::join(kFrames, ", ")));
  }
  return InvalidArgument(
      "\"{}\" is unknown; there are source, fps, loop, width, quality, wait and frames", key);
}

absl::Status ReadCameras(const Json::Value& value, Settings& settings) {
  if (!value.isObject()) return Wrong("cameras", "an object: {\"ID\": {\"source\": ...}, ...}");
  for (const std::string& id : value.getMemberNames()) {
    if (!value[id].isObject()) return Wrong(id, "an object: {\"source\": ...}");
    Camera camera{.id = id, .source = {}};
    for (const std::string& key : value[id].getMemberNames()) {
      if (const absl::Status status = ReadSourceKey(key, value[id][key], camera.source);
          !status.ok()) {
        return InvalidArgument("camera {}: {}", id, Message(status));
      }
    }
    settings.cameras.push_back(std::move(camera));
  }
  return absl::OkStatus();
}

absl::Status ReadKey(const std::string& key, const Json::Value& value, Settings& settings) {
  if (key == "redis") return Read(key, value, settings.redis.where);
  if (key == "user") return Read(key, value, settings.redis.user);
  if (key == "password_file") return Read(key, value, settings.password_file);
  if (key == "shards") return Read(key, value, kShards, settings.shards);
  if (key == "camera_set") return Read(key, value, settings.camera_set);
  if (key == "remove") return Read(key, value, settings.remove);
  if (key == "max_frames") return Read(key, value, kMostFrames, settings.most_frames);
  if (key == "timeout_s") return Read(key, value, kTimeoutS, settings.timeout_s);
  if (key == "cameras") return ReadCameras(value, settings);
  return InvalidArgument(
      "\"{}\" is unknown; there are redis, user, password_file, shards, camera_set, remove, "
      "max_frames, timeout_s and cameras",
      key);
}

void ReadConfigFile(const std::string& file, Settings& settings) {
  std::error_code error;
  std::ifstream stream(file, std::ios::binary);
  const auto size = std::filesystem::file_size(file, error);
  if (!stream || error || size > kMostConfigBytes) {
    throw CLI::ValidationError("--config",
                               fmt::format("{} cannot be read: is the path right?", file));
  }
  const std::string text{std::istreambuf_iterator<char>(stream), {}};
  if (const absl::Status status = ReadConfig(text, settings); !status.ok()) {
    throw CLI::ValidationError("--config", fmt::format("{}: {}", file, Message(status)));
  }
}

// The camera that the option belongs to.
SourceSettings& Latest(Settings& settings, const char* option) {
  if (settings.cameras.empty()) {
    throw CLI::ValidationError(option, "belongs to a camera: write it behind its --camera ID");
  }
  return settings.cameras.back().source;
}

}  // namespace

void AddOptions(CLI::App& app, Settings& settings) {
  app.add_option_function<std::string>(
         "--config", [&settings](const std::string& file) { ReadConfigFile(file, settings); },
         "a file of settings and cameras (docs/feeder.md); the options behind it go before it")
      ->trigger_on_parse();
  app.add_option("--redis", settings.redis.where, "unix:/path or HOST:PORT");
  app.add_option("--user", settings.redis.user, "the user that Redis knows us by");
  app.add_option("--password-file", settings.password_file, "a file with the user's password");
  app.add_option("--shards", settings.shards, "the pool's streams.shards")
      ->capture_default_str()
      ->check(CLI::Range(kShards.least, kShards.most));
  app.add_option("--camera-set", settings.camera_set, "the pool's streams.camera_set")
      ->capture_default_str();
  app.add_flag("--remove", settings.remove, "take the cameras from that set at the end");
  app.add_option("--max-frames", settings.most_frames,
                 "most pictures in a camera's stream: older ones are trimmed")
      ->capture_default_str()
      ->check(CLI::Range(kMostFrames.least, kMostFrames.most));
  app.add_option("--timeout", settings.timeout_s,
                 "seconds without a picture after which a source is opened again")
      ->capture_default_str()
      ->check(CLI::Range(kTimeoutS.least, kTimeoutS.most));

  const std::string group = "Of a camera (behind its --camera; may be repeated)";
  const auto option = [&]<typename T>(const char* name, T SourceSettings::*member,
                                      const char* words) {
    return app
        .add_option_function<T>(
            name,
            [&settings, name, member](const T& value) { Latest(settings, name).*member = value; },
            words)
        ->trigger_on_parse()
        ->group(group);
  };
  app.add_option_function<std::string>(
         "--camera",
         [&settings](const std::string& id) {
           settings.cameras.push_back({.id = id, .source = {}});
         },
         "its name; the options that follow are this camera's")
      ->trigger_on_parse()
      ->group(group);
  option("--source", &SourceSettings::address,
         "rtsp://... or another URL, a file, a folder of pictures, or /dev/video0");
  option("--fps", &SourceSettings::fps, "most pictures a second; all without it, of a folder 5")
      ->check(CLI::Range(kFps.least, kFps.most));
  option("--width", &SourceSettings::width, "scale wider pictures down to this many pixels")
      ->check(CLI::Range(kWidth.least, kWidth.most));
  option("--quality", &SourceSettings::quality, "of JPEGs that are made here; 85 without it")
      ->check(CLI::Range(kQuality.least, kQuality.most));
  option("--wait", &SourceSettings::wait,
         "send no picture while the stream has more than this many; nothing is trimmed, and a "
         "recording goes as fast as it is answered")
      ->check(CLI::Range(kWait.least, kWait.most));
  option("--frames", &SourceSettings::frames,
         "where pictures go to: redis, or shared memory of this machine, as files (shm) or as "
         "pixels (raw)")
      ->check(CLI::IsMember(std::vector<std::string>(kFrames.begin(), kFrames.end())));
  app.add_flag_callback(
         "--loop", [&settings] { Latest(settings, "--loop").loop = true; },
         "begin anew at the end of a recording or a folder")
      ->trigger_on_parse()
      ->group(group);
}

absl::Status ReadConfig(std::string_view text, Settings& settings) {
  ASSIGN_OR_RETURN(const Json::Value root, ReadStrictJson(text, 8, kMostJsonValues));
  if (!root.isObject()) return InvalidArgument("the file must be a JSON object");
  for (const std::string& key : root.getMemberNames()) {
    RETURN_IF_ERROR(ReadKey(key, root[key], settings));
  }
  return absl::OkStatus();
}

absl::Status Check(const Settings& settings) {
  if (settings.redis.where.empty()) {
    return InvalidArgument("say where Redis is: --redis unix:/path or --redis HOST:PORT");
  }
  if (settings.cameras.empty()) {
    return InvalidArgument("name a camera: --camera ID --source ADDRESS, or --config FILE");
  }
  if (settings.cameras.size() > kMostCameras) {
    return InvalidArgument("{} cameras are more than the {} of one process: start a second one",
                           settings.cameras.size(), kMostCameras);
  }
  std::set<std::string_view> ids;
  for (const Camera& camera : settings.cameras) {
    if (!streams::IsCameraId(camera.id)) {
      return InvalidArgument("a camera's ID is 1 to 128 bytes of UTF-8 without control characters");
    }
    if (!ids.insert(camera.id).second) {
      return InvalidArgument("camera {} is there twice", camera.id);
    }
    const SourceSettings& source = camera.source;
    if (source.address.empty()) {
      return InvalidArgument("camera {} has no source: write --source ADDRESS behind it",
                             camera.id);
    }
    if (const int slots = SlotsOf(source, settings.most_frames);
        source.in_memory() && slots > kMostSlots) {
      return InvalidArgument(
          "camera {}: {} pictures in shared memory are more than {}: lower --max-frames or --wait",
          camera.id, slots, kMostSlots);
    }
    std::error_code error;
    if (KindOf(source.address) == AddressKind::kFile &&
        !std::filesystem::exists(source.address, error)) {
      return InvalidArgument("camera {}: there is no file {}", camera.id, Shown(source.address));
    }
  }
  if (const std::size_t sources = SourcesOf(settings.cameras).size(); sources > kMostSources) {
    return InvalidArgument("{} sources are more than the {} of one process: start a second one",
                           sources, kMostSources);
  }
  return absl::OkStatus();
}

int SlotsOf(const SourceSettings& source, int most_frames) {
  constexpr int kOnTheirWay = 4;
  return (source.wait > 0 ? source.wait : most_frames) + kOnTheirWay;
}

std::vector<Source> SourcesOf(const std::vector<Camera>& cameras) {
  // By address first, as there may be thousands.
  std::multimap<std::string_view, std::size_t> by_address;
  std::vector<Source> sources;
  for (const Camera& camera : cameras) {
    const auto [first, last] = by_address.equal_range(camera.source.address);
    const auto same = std::find_if(first, last, [&](const auto& entry) {
      return sources[entry.second].settings == camera.source;
    });
    if (same != last) {
      sources[same->second].cameras.push_back(camera.id);
    } else {
      by_address.emplace(camera.source.address, sources.size());
      sources.push_back({.settings = camera.source, .cameras = {camera.id}});
    }
  }
  return sources;
}

}  // namespace inferpool::feeder
