// modelserver, the KServe v2 server. It is an executable of its own, so that what runs models can
// take no other process down. It is live at once, loads its models, and is ready when that is done.
//
// --model-control-mode, as in Triton, says what decides which models are loaded after the start:
// nothing (none), requests (explicit), or the folder, at which the server looks every
// --repository-poll-secs (poll).
//
// SIGUSR1 opens the log file again. SIGTERM and SIGINT drain: the server takes no more calls, gives
// those in progress --drain-s to end, and exits with 0. When it cannot start, it exits with 1 and
// the log says why. A model that fails to load does not keep it from starting.

#include <grpc/grpc.h>
#include <pthread.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <opencv2/core.hpp>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "modelserver/onnxruntime/library.h"
#include "modelserver/repository/repository.h"
#include "modelserver/service/metrics.h"
#include "modelserver/service/server.h"
#include "shared/base/descriptor_limit.h"
#include "shared/base/log.h"
#include "shared/base/mutex.h"
#include "shared/base/process_tuning.h"
#include "shared/base/utf8.h"

namespace inferpool::modelserver {
namespace {

struct Options {
  std::string repository;
  std::vector<std::string> listen;
  std::string metrics_listen;
  std::string log_level = "info";
  std::string log_file;
  int drain_s = 20;
  std::string control = "none";
  std::vector<std::string> load;
  int poll_s = 15;
  std::string onnxruntime;
  ServerOptions server;
};

// Loads the models, and in poll mode looks for changes until `stop`.
void Load(Repository& repository, Server& server, const Options& options,
          const std::stop_token& stop) {
  const auto stopped = [&stop] { return stop.stop_requested(); };
  repository.Load(stopped);
  if (repository.Ready()) {
    server.SetReady(true);
    log::Info("ready", {{"models", repository.Index().size()}});
  }
  Mutex mutex;
  std::condition_variable_any wake;
  MutexLock lock(mutex);
  while (options.control == "poll" && !stopped()) {
    wake.wait_for(lock.native(), stop, std::chrono::seconds(options.poll_s), [] { return false; });
    if (!stopped()) repository.Poll(stopped);
  }
}

int Serve(const Options& options) {
  RaiseDescriptorLimit();
  TuneProcess();
  // Before any thread is started, because all threads inherit the mask. sigwait gets the signals.
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGTERM, SIGINT, SIGUSR1}) sigaddset(&signals, number);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  // Never undone: when the library's last user ends, gRPC 1.51 joins a thread that may be in an
  // epoll of 10 s, and the process would take that long to exit.
  grpc_init();

  // OpenCV's own threads would only fight with those of the calls over the same cores.
  cv::setNumThreads(1);

  ort::UseLibrary(options.onnxruntime);

  Repository repository(
      options.repository,
      {.control = ParseModelControl(options.control).value_or(ModelControl::kNone),
       .load = options.load});
  if (const absl::Status status = repository.Scan(); !status.ok()) {
    log::Error("cannot start", {{"reason", Message(status)}});
    return EXIT_FAILURE;
  }
  absl::StatusOr<std::unique_ptr<Server>> server =
      Server::Start(repository, options.listen, options.server);
  if (!server.ok()) {
    log::Error("cannot start", {{"reason", Message(server.status())}});
    return EXIT_FAILURE;
  }
  for (const std::string& address : (*server)->addresses()) {
    log::Info("listening", {{"address", address}});
  }
  std::optional<MetricsServer> metrics;
  if (!options.metrics_listen.empty()) {
    auto started = MetricsServer::Start(repository, options.metrics_listen);
    if (!started.ok()) {
      log::Error("cannot start", {{"reason", Message(started.status())}});
      return EXIT_FAILURE;
    }
    metrics.emplace(*std::move(started));
    log::Info("metrics", {{"address", metrics->address()}});
  }
  {
    const std::jthread loader(
        [&](const std::stop_token& stop) { Load(repository, **server, options, stop); });
    int signal = 0;
    while (sigwait(&signals, &signal) != 0 || signal == SIGUSR1) {
      if (signal == SIGUSR1) log::Reopen();
    }
    log::Info("draining", {{"signal", signal}});
    (*server)->Shutdown(std::chrono::seconds(options.drain_s));
  }
  log::Info("stopped");
  return EXIT_SUCCESS;
}

}  // namespace
}  // namespace inferpool::modelserver

int main(int argc, char** argv) {
  using inferpool::modelserver::Options;
  namespace log = inferpool::log;
  Options options;
  CLI::App app("inferpool's KServe v2 model server");
  app.add_option("--repository", options.repository, "folder of models, in Triton's layout")
      ->required();
  app.add_option("--listen", options.listen, "unix:/path or host:port; may be repeated")
      ->required();
  app.add_option("--metrics-listen", options.metrics_listen,
                 "host:port of /metrics for Prometheus; none when absent");
  app.add_option("--model-control-mode", options.control, "none, explicit or poll")
      ->capture_default_str()
      ->check(CLI::IsMember({"none", "explicit", "poll"}));
  app.add_option("--load-model", options.load,
                 "with explicit control: a model to load at the start; may be repeated; * for all");
  app.add_option("--repository-poll-secs", options.poll_s,
                 "with poll: seconds between looks at the repository; a change is acted upon when "
                 "two looks agree")
      ->capture_default_str()
      ->check(CLI::Range(1, 86'400));
  app.add_option("--onnxruntime", options.onnxruntime,
                 "ONNX Runtime's library; without it onnxruntime/libonnxruntime.so.1 beside this "
                 "program, otherwise the system's");
  app.add_option("--id", options.server.id, "the name that the server gives to its clients")
      ->capture_default_str()
      ->check([](const std::string& id) {
        return id.empty() || !inferpool::IsUtf8(id) ? "--id is some UTF-8" : "";
      });
  app.add_option("--allow-client-shm", options.server.allow_client_shm,
                 "true: clients may register their shared memory, and tensors go by it")
      ->default_str("false");
  app.add_option("--max-message-mb", options.server.max_message_mb,
                 "largest gRPC message either way, in MiB")
      ->capture_default_str()
      ->check(CLI::Range(1, 2047));
  app.add_option("--log-level", options.log_level, "debug, info, warning or error")
      ->capture_default_str()
      ->check(CLI::IsMember(
          std::vector<std::string>(log::kLevelNames.begin(), log::kLevelNames.end())));
  app.add_option("--log-file", options.log_file, "instead of stderr; opened again on SIGUSR1");
  app.add_option("--drain-s", options.drain_s, "seconds that calls in progress have at the end")
      ->capture_default_str()
      ->check(CLI::Range(0, 3600));
  app.set_version_flag("--version", INFERPOOL_VERSION);
  CLI11_PARSE(app, argc, argv);

  log::Level level = log::Level::kInfo;
  log::ParseLevel(options.log_level, level);
  log::Init(level, "modelserver");
  if (!log::OpenFile(options.log_file)) {
    log::Error("cannot open the log file", {{"file", options.log_file}});
    return EXIT_FAILURE;
  }
  return inferpool::modelserver::Serve(options);
}
