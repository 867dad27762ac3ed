#include "ops/cli/keys_command.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <grp.h>
#include <pwd.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string_view>
#include <system_error>
#include <utility>

#include "shared/access/api_keys.h"
#include "shared/base/file_descriptor.h"
#include "shared/base/replace_file.h"

namespace inferpool::ops {
namespace {

int Fail(std::string_view why) {
  fmt::print(stderr, "inferpool: {}\n", why);
  return EXIT_FAILURE;
}

absl::Status Failed(std::string_view what, const std::string& path) {
  return absl::InternalError(
      fmt::format("cannot {} {}: {}", what, path, std::generic_category().message(errno)));
}

// The keys file, and who must be able to read it.
struct Place {
  std::string file;
  std::string group;  // of a new file that root makes; empty: root's own
};

absl::StatusOr<Place> PlaceOf(const KeysCommand& command) {
  if (!command.file.empty()) return Place{std::filesystem::absolute(command.file), ""};
  if (command.config_file.empty()) {
    return absl::InvalidArgumentError(
        "name the configuration (-c FILE) or the keys file (--file FILE)");
  }
  const ConfigResult result = LoadConfig(command.config_file, command.overrides);
  if (!result.problems.empty()) {
    return absl::InvalidArgumentError(Format(result.problems.front(), command.config_file));
  }
  const Config& config = result.config;
  if (config.auth.keys_file.empty()) {
    return absl::FailedPreconditionError(
        fmt::format("{} sets no auth.keys_file: set it, so that the pool asks for keys, or name a "
                    "file with --file",
                    command.config_file));
  }
  std::string group = config.group;
  if (group.empty() && !config.user.empty()) {
    const passwd* user = getpwnam(config.user.c_str());  // NOLINT(concurrency-mt-unsafe)
    const struct group* own = user == nullptr ? nullptr : getgrgid(user->pw_gid);  // NOLINT
    if (own != nullptr) group = own->gr_name;
  }
  return Place{config.auth.keys_file, std::move(group)};
}

// The file's keys; none when there is no file yet.
absl::StatusOr<std::vector<ApiKey>> Load(const std::string& file) {
  std::error_code error;
  if (!std::filesystem::exists(file, error)) return std::vector<ApiKey>{};
  return LoadApiKeys(file);
}

// Mode and owner of the file that is replaced; for a new one, what its readers need.
absl::Status GiveRights(int fd, const Place& place) {
  struct stat old {};
  if (stat(place.file.c_str(), &old) == 0) {
    // Those who read it must be able to read the new one.
    if ((old.st_uid != geteuid() || old.st_gid != getegid()) &&
        fchown(fd, old.st_uid, old.st_gid) != 0) {
      return Failed("keep the owner and group of", place.file);
    }
    return fchmod(fd, old.st_mode & 07777) == 0 ? absl::OkStatus()
                                                : Failed("set the mode of", place.file);
  }
  const struct group* group = nullptr;
  if (geteuid() == 0 && !place.group.empty()) {
    group = getgrnam(place.group.c_str());  // NOLINT(concurrency-mt-unsafe): one thread
  }
  if (group != nullptr && fchown(fd, static_cast<uid_t>(-1), group->gr_gid) != 0) {
    return Failed("give to its group", place.file);
  }
  return fchmod(fd, group == nullptr ? 0600 : 0640) == 0 ? absl::OkStatus()
                                                         : Failed("set the mode of", place.file);
}

absl::Status Replace(const Place& place, const std::string& text) {
  return ReplaceFile(place.file, text, {.mode = 0600, .durable = true, .set_rights = [&](int fd) {
                                          return GiveRights(fd, place);
                                        }});
}

// Changes the file while nobody else does.
absl::Status Edit(Place place, const std::function<absl::Status(std::vector<ApiKey>&)>& change) {
  std::error_code error;  // a link stays one: what it leads to is replaced
  const std::filesystem::path target = std::filesystem::canonical(place.file, error);
  if (!error) place.file = target;
  const std::string folder = std::filesystem::path(place.file).parent_path();
  // The folder is locked and not the file, which is another one afterwards.
  const FileDescriptor lock(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!lock) return Failed("open the folder", folder);
  while (flock(lock.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return Failed("lock the folder", folder);
  }
  auto keys = Load(place.file);
  RETURN_IF_ERROR(keys.status());
  RETURN_IF_ERROR(change(*keys));
  RETURN_IF_ERROR(Replace(place, SerializeApiKeys(*keys)));
  return fsync(lock.get()) == 0 ? absl::OkStatus() : Failed("write", folder);
}

// "ip_" and 32 random bytes in base64url, without padding.
absl::StatusOr<std::string> MakeKey() {
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::array<std::uint8_t, 32> bytes{};
  if (getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    return Failed("get", "random bytes");
  }
  std::string key = "ip_";
  std::uint32_t bits = 0;
  int count = 0;
  for (const std::uint8_t byte : bytes) {
    bits = (bits << 8U) | byte;
    for (count += 8; count >= 6; count -= 6) {
      key += kAlphabet[(bits >> static_cast<unsigned>(count - 6)) & 63U];
    }
  }
  key += kAlphabet[(bits << static_cast<unsigned>(6 - count)) & 63U];
  return key;
}

absl::StatusOr<ApiKey> KeyOf(const KeysCommand& command) {
  ApiKey key;
  RETURN_IF_ERROR(CheckKeyName(command.name));
  key.name = command.name;
  if (!command.models.empty()) key.models = command.models;
  if (std::ranges::count(key.models, "") > 0) {
    return absl::InvalidArgumentError("--models has an empty name");
  }
  if (key.models != ApiKey().models) key.cameras.clear();
  if (!command.cameras.empty()) key.cameras = command.cameras;
  if (std::ranges::count(key.cameras, "") > 0) {
    return absl::InvalidArgumentError("--cameras has an empty name");
  }
  const auto rate = MakeRateLimit(command.rate_per_s, command.burst);
  RETURN_IF_ERROR(rate.status());
  key.rate = *rate;
  const auto priority = ParsePriority(command.priority);
  if (!priority) return absl::InvalidArgumentError("--priority is high, normal or low");
  key.priority = *priority;
  if (!command.expires.empty()) {
    const auto at = ParseExpiry(command.expires);
    RETURN_IF_ERROR(at.status());
    if (*at <= std::chrono::system_clock::now()) {
      return absl::InvalidArgumentError(fmt::format("{} is over already", command.expires));
    }
    key.expires = command.expires;
    key.expires_at = *at;
  }
  return key;
}

void AddFileOptions(CLI::App& command, KeysCommand& options) {
  command.add_option("-c,--config", options.config_file,
                     "Configuration file, whose auth.keys_file is meant");
  command.add_option("--set", options.overrides, "KEY=VALUE that wins over the file")->take_all();
  command.add_option("--file", options.file, "The keys file itself");
}

std::string Rate(const RateLimit& rate) {
  return rate.per_s > 0 ? fmt::format("{} ({})", rate.per_s, rate.burst) : "no limit";
}

std::string Expiry(const ApiKey& key) {
  if (key.expires.empty()) return "never";
  return std::chrono::system_clock::now() < key.expires_at ? key.expires : key.expires + " (over)";
}

}  // namespace

KeysCommands AddKeysCommands(CLI::App& keys, KeysCommand& options) {
  keys.require_subcommand(1);
  const KeysCommands commands{.add = keys.add_subcommand("add", "Make a key and show it, once"),
                              .list = keys.add_subcommand("list", "Show whose keys there are"),
                              .revoke = keys.add_subcommand("revoke", "Take a key away")};
  for (CLI::App* command : {commands.add, commands.list, commands.revoke}) {
    AddFileOptions(*command, options);
  }
  for (CLI::App* command : {commands.add, commands.revoke}) {
    command->add_option("name", options.name, "Whose key it is")->required();
  }
  CLI::App& add = *commands.add;
  add.add_option("--models", options.models,
                 "Models that it is for, such as faces,shop-*; all when not given")
      ->delimiter(',');
  add.add_option("--cameras", options.cameras,
                 "Cameras that it may watch, such as door-*; when not given, all for a key of all "
                 "models, else none")
      ->delimiter(',');
  add.add_option("--rate", options.rate_per_s, "Most requests a second; no limit when not given");
  add.add_option("--burst", options.burst, "Requests that may come at once");
  add.add_option("--priority", options.priority, "The most urgent that it may ask for")
      ->capture_default_str();
  add.add_option("--expires", options.expires,
                 "Last day (UTC), 2027-06-30, or a time, 2027-06-30T12:00:00Z");
  return commands;
}

int AddKey(const KeysCommand& command) {
  const auto place = PlaceOf(command);
  if (!place.ok()) return Fail(Message(place.status()));
  auto key = KeyOf(command);
  if (!key.ok()) return Fail(Message(key.status()));
  const auto secret = MakeKey();
  if (!secret.ok()) return Fail(Message(secret.status()));
  key->sha256 = Sha256Of(*secret);
  const absl::Status edited = Edit(*place, [&](std::vector<ApiKey>& keys) -> absl::Status {
    if (std::ranges::count(keys, key->name, &ApiKey::name) > 0) {
      return absl::AlreadyExistsError(fmt::format(
          "there is a key {} already: revoke it first, or take another name", key->name));
    }
    if (keys.size() >= kMaxApiKeys) {
      return absl::ResourceExhaustedError(
          fmt::format("there are {} keys, and there is room for no more", keys.size()));
    }
    keys.push_back(*key);
    return absl::OkStatus();
  });
  if (!edited.ok()) return Fail(Message(edited));
  // On stderr what people read, on stdout the key alone: it can be piped to where it belongs.
  fmt::print(stderr, "The key of {}. It is shown only now:\n", key->name);
  fmt::print("{}\n", *secret);
  return EXIT_SUCCESS;
}

int ListKeys(const KeysCommand& command) {
  const auto place = PlaceOf(command);
  if (!place.ok()) return Fail(Message(place.status()));
  const auto keys = Load(place->file);
  if (!keys.ok()) return Fail(Message(keys.status()));
  if (keys->empty()) {
    fmt::print("there are no keys in {}\n", place->file);
    return EXIT_SUCCESS;
  }
  constexpr std::size_t kShownDigits = 8;
  constexpr const char* kRow = "{:<20} {:<10} {:<20} {:<9} {:<22} {:<20} {}\n";
  fmt::print(kRow, "NAME", "SHA-256", "RATE/S (BURST)", "PRIORITY", "EXPIRES", "MODELS", "CAMERAS");
  for (const ApiKey& key : *keys) {
    fmt::print(kRow, key.name, ToHex(key.sha256).substr(0, kShownDigits) + "..", Rate(key.rate),
               Name(key.priority), Expiry(key), fmt::format("{}", fmt::join(key.models, ",")),
               fmt::join(key.cameras, ","));
  }
  return EXIT_SUCCESS;
}

int RevokeKey(const KeysCommand& command) {
  const auto place = PlaceOf(command);
  if (!place.ok()) return Fail(Message(place.status()));
  const absl::Status edited = Edit(*place, [&](std::vector<ApiKey>& keys) -> absl::Status {
    if (std::erase_if(keys, [&](const ApiKey& key) { return key.name == command.name; }) > 0) {
      return absl::OkStatus();
    }
    return absl::NotFoundError(
        fmt::format("there is no key {} in {}; inferpool keys list shows whose there are",
                    command.name, place->file));
  });
  if (!edited.ok()) return Fail(Message(edited));
  fmt::print("the key of {} is revoked; a running pool knows within a second\n", command.name);
  return EXIT_SUCCESS;
}

absl::Status CheckKeysFile(const Config& config) {
  if (config.auth.keys_file.empty()) return absl::OkStatus();
  const auto keys = LoadApiKeys(config.auth.keys_file);
  if (keys.ok()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      fmt::format("auth.keys_file: {}{}", Message(keys.status()),
                  absl::IsNotFound(keys.status()) ? "; inferpool keys add makes it" : ""));
}

}  // namespace inferpool::ops
