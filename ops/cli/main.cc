// The `inferpool` command.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <iterator>
#include <string>
#include <vector>

#include "fcgi/pool/process_title.h"
#include "ops/cli/keys_command.h"
#include "ops/cli/nginx_config.h"
#include "ops/cli/pool_command.h"
#include "ops/cli/predict_command.h"
#include "ops/cli/routes_command.h"
#include "ops/cli/serve.h"
#include "ops/cli/state_folder.h"
#include "shared/config/config.h"
#include "worker/model_settings.h"

namespace inferpool::ops {
namespace {

// What the commands have in common that read a configuration.
struct ConfigOptions {
  std::string file;
  ConfigOverrides overrides;
};

void AddConfigOptions(CLI::App& command, ConfigOptions& options) {
  command.add_option("-c,--config", options.file, "Configuration file (JSON with comments)")
      ->required();
  command
      .add_option("--set", options.overrides,
                  "KEY=VALUE that wins over the file; may be given again")
      ->take_all();
}

// The exit status of a command that got a bad configuration.
constexpr int kBadConfig = 2;

int WithConfig(const ConfigOptions& options, const auto& run) {
  ConfigResult result = LoadConfig(options.file, options.overrides);
  std::ranges::move(worker::CheckModels(result.config), std::back_inserter(result.problems));
  for (const ConfigProblem& problem : result.problems) {
    fmt::print(stderr, "{}\n", Format(problem, options.file));
  }
  return result.problems.empty() ? run(result.config) : kBadConfig;
}

int Main(int argc, char** argv) {
  CLI::App app{"inferpool: answers \"what is in this picture?\" over HTTP"};
  app.require_subcommand(1);
  ConfigOptions options;

  CLI::App* serve = app.add_subcommand("serve", "Start the pool and stay in the foreground");
  AddConfigOptions(*serve, options);
  CLI::App* check = app.add_subcommand("check", "Check a configuration and say all that is wrong");
  AddConfigOptions(*check, options);
  CLI::App* nginx = app.add_subcommand("nginx", "Print nginx's configuration");
  AddConfigOptions(*nginx, options);
  CLI::App* prepare =
      app.add_subcommand("prepare", "Make the state folder, with nginx's configuration in it");
  AddConfigOptions(*prepare, options);
  PoolCommand pool;
  CLI::App* status = app.add_subcommand("status", "Show what a running pool does");
  AddPoolOptions(*status, pool);
  status->add_flag("--json", pool.json, "As JSON");
  status->add_flag("--watch", pool.watch, "Again every second, until Ctrl-C");
  CLI::App* reload =
      app.add_subcommand("reload", "Have a running pool read its configuration again");
  AddPoolOptions(*reload, pool);
  reload->add_option("--patience", pool.patience_s, "Seconds to wait for the outcome")
      ->capture_default_str();
  CLI::App* scale = app.add_subcommand("scale", "Change a running pool's number of workers");
  AddPoolOptions(*scale, pool);
  scale->add_option("workers", pool.workers, "Worker processes")->required();
  scale->add_option("--patience", pool.patience_s, "Seconds to wait for the outcome")
      ->capture_default_str();
  CLI::App* quarantine =
      app.add_subcommand("quarantine", "Show or clear the pictures that crashed a worker");
  AddPoolOptions(*quarantine, pool);
  CLI::App* list = quarantine->add_subcommand("list", "Show them (the default)");
  CLI::App* clear = quarantine->add_subcommand("clear", "Let them be tried again");
  list->fallthrough();
  clear->fallthrough();
  CLI::App* keys = app.add_subcommand("keys", "Add, show and revoke API keys");
  KeysCommand key;
  const KeysCommands of_keys = AddKeysCommands(*keys, key);
  CLI::App* routes = app.add_subcommand("routes", "Show and change what routes lead to");
  RoutesCommand route;
  const RoutesCommands of_routes = AddRoutesCommands(*routes, route);
  CLI::App* version = app.add_subcommand("version", "Print the version");
  CLI::App* predict = app.add_subcommand("predict", "Send pictures and print what is in them");
  PredictCommand request;
  AddPredictOptions(*predict, request);

  CLI11_PARSE(app, argc, argv);

  if (*serve) {
    fcgi::SetProcessTitle("master");
    return WithConfig(options, [&](const Config& config) {
      return Serve(config, std::filesystem::absolute(options.file), options.overrides);
    });
  }
  if (*status) return Status(pool);
  if (*reload) return Reload(pool);
  if (*scale) return Scale(pool);
  if (*quarantine) return *clear ? ClearQuarantine(pool) : ListQuarantine(pool);
  if (*check) {
    return WithConfig(options, [&](const Config& config) {
      if (const absl::Status keys_file = CheckKeysFile(config); !keys_file.ok()) {
        fmt::print(stderr, "{}: {}\n", options.file, Message(keys_file));
        return kBadConfig;
      }
      fmt::print("{}: good\n", options.file);
      return EXIT_SUCCESS;
    });
  }
  if (*nginx) {
    return WithConfig(options, [](const Config& config) {
      fmt::print("{}", NginxConfig(config, ThisHost(config)));
      return EXIT_SUCCESS;
    });
  }
  if (*prepare) return WithConfig(options, Prepare);
  if (*of_keys.add) return AddKey(key);
  if (*of_keys.list) return ListKeys(key);
  if (*of_keys.revoke) return RevokeKey(key);
  if (*of_routes.list) return ListRoutes(route);
  if (*of_routes.set) return SetRoute(route);
  if (*of_routes.promote) return PromoteRoute(route);
  if (*of_routes.rollback) return RollBackRoute(route);
  if (*version) {
    fmt::print("inferpool {}\n", INFERPOOL_VERSION);
    return EXIT_SUCCESS;
  }
  return *predict ? Predict(request) : EXIT_FAILURE;
}

}  // namespace
}  // namespace inferpool::ops

int main(int argc, char** argv) {
  inferpool::fcgi::InitProcessTitle(argc, argv);
  try {
    return inferpool::ops::Main(argc, argv);
  } catch (const std::exception& error) {
    // Not fmt::print, which throws when stderr is a file on a full disk.
    std::fprintf(stderr, "inferpool: %s\n", error.what());
    return EXIT_FAILURE;
  }
}
