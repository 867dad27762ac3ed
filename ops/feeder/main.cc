// inferpool-feed: frames of cameras, recordings and folders into the streams of Redis that the pool
// reads (docs/feeder.md). A program of its own, so that what decodes foreign videos takes nothing
// else down.
//
// SIGTERM and SIGINT end it: what has been read is sent, and it exits with 0. feeder.h has the
// other exit codes.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <string>

#include "ops/feeder/feeder.h"
#include "ops/feeder/settings.h"
#include "shared/base/log.h"

namespace {

using inferpool::feeder::Exit;

int Usage(std::string_view why) {
  fmt::print(stderr, "inferpool-feed: {}\nRun with --help for more information.\n", why);
  return static_cast<int>(Exit::kUsage);
}

}  // namespace

int main(int argc, char** argv) {
  namespace feeder = inferpool::feeder;
  namespace log = inferpool::log;
  feeder::Settings settings;
  std::string log_level = "info";
  CLI::App app("Feeds pictures of cameras, recordings and folders to inferpool through Redis");
  app.set_version_flag("--version", INFERPOOL_VERSION);
  app.add_option("--log-level", log_level, "debug, info, warning or error")
      ->capture_default_str()
      ->check(CLI::IsMember(
          std::vector<std::string>(log::kLevelNames.begin(), log::kLevelNames.end())));
  try {
    feeder::AddOptions(app, settings);
    app.parse(argc, argv);
  } catch (const CLI::ExtrasError&) {
    // Its words would have the address, and with it maybe a password.
    return Usage("there is a word that belongs to no option: is it an address without --source?");
  } catch (const CLI::Success& success) {
    return app.exit(success);
  } catch (const CLI::Error& error) {
    return Usage(error.what());
  }
  if (const absl::Status status = feeder::Check(settings); !status.ok()) {
    return Usage(inferpool::Message(status));
  }
  log::Level level = log::Level::kInfo;
  log::ParseLevel(log_level, level);
  log::Init(level, "feeder");
  return static_cast<int>(feeder::Feed(std::move(settings)));
}
