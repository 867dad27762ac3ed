#include "ops/cli/model_server_launcher.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include "fcgi/pool/child.h"
#include "ops/cli/own_files.h"
#include "shared/base/grpc_address.h"
#include "shared/base/log.h"
#include "worker/backend/shm/sweep.h"

namespace inferpool::ops {

absl::Status CheckModelFiles(const Config& config) {
  const Config::ModelServer& settings = config.modelserver;
  std::error_code error;
  if (!settings.enabled) return absl::OkStatus();
  if (!std::filesystem::is_directory(settings.repository, error)) {
    return absl::NotFoundError(
        fmt::format("modelserver.repository: {} is no folder", settings.repository));
  }
  if (!settings.onnxruntime.empty() && access(settings.onnxruntime.c_str(), R_OK) != 0) {
    return absl::NotFoundError(fmt::format("modelserver.onnxruntime: {} cannot be read: {}",
                                           settings.onnxruntime,
                                           std::generic_category().message(errno)));
  }
  return absl::OkStatus();
}

absl::Status CheckModelServer(const Config& config) {
  const std::string program = ModelServerProgram();
  if (config.modelserver.enabled && access(program.c_str(), X_OK) != 0) {
    return absl::NotFoundError(
        fmt::format("there is no program {}: build the target modelserver, or set "
                    "modelserver.enabled to false and name backend.targets",
                    program));
  }
  return CheckModelFiles(config);
}

int ExecModelServer(const Config& config) {
  fcgi::UnblockSignals();
  const std::string program = ModelServerProgram();
  const Config::ModelServer& settings = config.modelserver;
  std::vector<std::string> arguments = {program,
                                        "--repository",
                                        settings.repository,
                                        "--listen",
                                        settings.listen,
                                        "--model-control-mode",
                                        settings.control,
                                        "--repository-poll-secs",
                                        std::to_string(settings.poll_s),
                                        "--allow-client-shm",
                                        "true",
                                        "--max-message-mb",
                                        std::to_string(config.backend.message_mb),
                                        "--log-level",
                                        config.log.level,
                                        "--log-file",
                                        config.log.file};
  if (!settings.metrics.empty()) {
    arguments.insert(arguments.end(), {"--metrics-listen", settings.metrics});
  }
  if (!settings.onnxruntime.empty()) {
    arguments.insert(arguments.end(), {"--onnxruntime", settings.onnxruntime});
  }
  if (settings.control == "explicit") {
    // The pool has models to serve before anybody asks for one.
    arguments.insert(arguments.end(), {"--load-model", "*"});
  }
  fcgi::Exec(arguments);
  log::Error("cannot start the model server", {{"program", program}, {"errno", errno}});
  return EXIT_FAILURE;
}

void RemoveTracesOfModelServer(const Config& config) {
  std::error_code error;
  if (const std::string_view socket = UnixSocketPath(config.modelserver.listen); !socket.empty()) {
    std::filesystem::remove(socket, error);
  }
  // What it had registered went with it; nobody has to be asked.
  const auto unregister = [](const std::string&) { return absl::OkStatus(); };
  backend::SweepSegments(config.state, unregister, Deadline::After(std::chrono::seconds(1)));
}

}  // namespace inferpool::ops
