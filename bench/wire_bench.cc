// What a call to the model server costs: calls a second, latency, and the processor time of both
// ends, for the ways a tensor can travel, beside gRPC's own unary hello world.
//
// Starts what it needs (the modelserver beside it, with identity models in a temporary folder, and
// a hello server: itself again) on unix sockets, and runs the cases in turn, several rounds of
// each, so that what the machine does besides hits all alike. Prints the median round of each as a
// line, then the ratios.

#include <fmt/format.h>
#include <grpcpp/grpcpp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "bench/hello.grpc.pb.h"
#include "proto/kserve.grpc.pb.h"
#include "proto/tensor.h"

namespace inferpool::bench {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

class Greeter final : public hello::Greeter::Service {
  grpc::Status SayHello(grpc::ServerContext* /*context*/, const hello::Request* request,
                        hello::Reply* reply) override {
    reply->set_message("Hello " + request->name());
    return grpc::Status::OK;
  }
};

int ServeHello(const std::string& address) {
  Greeter greeter;
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address, grpc::InsecureServerCredentials());
  builder.RegisterService(&greeter);
  const auto server = builder.BuildAndStart();
  server->Wait();
  return 0;
}

// A child process, killed at the end.
class Child {
 public:
  explicit Child(std::vector<std::string> command) : pid_(fork()) {
    if (pid_ != 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    std::vector<char*> arguments;
    for (std::string& argument : command) arguments.push_back(argument.data());
    arguments.push_back(nullptr);
    execv(arguments[0], arguments.data());
    _exit(127);
  }
  ~Child() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  // Processor time so far, seconds.
  double Cpu() const {
    clockid_t clock = 0;
    timespec time = {};
    if (clock_getcpuclockid(pid_, &clock) != 0 || clock_gettime(clock, &time) != 0) return 0;
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
  }

 private:
  pid_t pid_;
};

double OwnCpu() {
  timespec time = {};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

struct Measured {
  double calls_per_s = 0;
  double p50_us = 0;
  double p99_us = 0;
  double client_us = 0;  // processor time a call
  double server_us = 0;
};

// A way to make one call; each thread has its own.
using Call = std::function<void()>;
using MakeCall = std::function<Call()>;

struct Case {
  std::string name;
  int threads;
  const Child* server;
  MakeCall make;
};

Measured Run(const Case& test, double seconds) {
  std::vector<std::vector<double>> times(static_cast<std::size_t>(test.threads));
  std::atomic<bool> stop = false;
  const double client = OwnCpu();
  const double server = test.server->Cpu();
  const auto start = Clock::now();
  {
    std::vector<std::jthread> threads;
    for (auto& mine : times) {
      threads.emplace_back([&] {
        const Call call = test.make();
        while (!stop.load(std::memory_order_relaxed)) {
          const auto begin = Clock::now();
          call();
          mine.push_back(Seconds(Clock::now() - begin).count() * 1e6);
        }
      });
    }
    std::this_thread::sleep_for(Seconds(seconds));
    stop = true;
  }
  const double took = Seconds(Clock::now() - start).count();
  std::vector<double> all;
  for (const auto& mine : times) all.insert(all.end(), mine.begin(), mine.end());
  std::ranges::sort(all);
  const auto calls = static_cast<double>(all.size());
  return {calls / took, all[all.size() / 2], all[all.size() * 99 / 100],
          (OwnCpu() - client) / calls * 1e6, (test.server->Cpu() - server) / calls * 1e6};
}

Measured Median(std::vector<Measured> rounds) {
  std::ranges::sort(rounds, {}, &Measured::calls_per_s);
  return rounds[rounds.size() / 2];
}

std::shared_ptr<grpc::Channel> Connect(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetMaxSendMessageSize(-1);
  auto channel = grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
  if (!channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(30))) {
    fmt::print(stderr, "nobody answers at {}\n", address);
    std::exit(EXIT_FAILURE);
  }
  return channel;
}

void Check(const grpc::Status& status) {
  if (status.ok()) return;
  fmt::print(stderr, "a call failed: {}\n", status.error_message());
  std::exit(EXIT_FAILURE);
}

// ModelInfer through the generated stub, the tensor in the message: what a usual client does.
MakeCall Plain(std::shared_ptr<grpc::Channel> channel, std::string model, std::size_t floats) {
  return [channel, model, floats] {
    auto stub = std::shared_ptr(inference::GRPCInferenceService::NewStub(channel));
    auto tensor = std::make_shared<std::vector<float>>(floats, 0.5F);
    return [stub, tensor, model] {
      inference::ModelInferRequest request;
      request.set_model_name(model);
      AddRawInput(request, "INPUT0", inference::TYPE_FP32,
                  std::vector<std::int64_t>{static_cast<std::int64_t>(tensor->size())})
          .assign(reinterpret_cast<const char*>(tensor->data()), tensor->size() * sizeof(float));
      inference::ModelInferResponse response;
      grpc::ClientContext context;
      Check(stub->ModelInfer(&context, request, &response));
      if (response.raw_output_contents(0).size() != tensor->size() * sizeof(float)) {
        fmt::print(stderr, "a wrong answer\n");
        std::exit(EXIT_FAILURE);
      }
    };
  };
}

MakeCall Hello(std::shared_ptr<grpc::Channel> channel) {
  return [channel] {
    auto stub = std::shared_ptr(hello::Greeter::NewStub(channel));
    return [stub] {
      hello::Request request;
      request.set_name("world");
      hello::Reply reply;
      grpc::ClientContext context;
      Check(stub->SayHello(&context, request, &reply));
    };
  };
}

void WriteModel(const std::filesystem::path& repository, const std::string& name) {
  std::filesystem::create_directories(repository / name);
  std::ofstream(repository / name / "config.pbtxt")
      << "backend: \"identity\"\n"
         "input { name: \"INPUT0\" data_type: TYPE_FP32 dims: -1 }\n"
         "output { name: \"OUTPUT0\" data_type: TYPE_FP32 dims: -1 }\n"
         "instance_group { count: 16 }\n";
}

struct Options {
  double seconds = 1;
  int rounds = 5;
  std::string only;
};

int Measure(const std::filesystem::path& own, const Options& options) {
  std::string pattern = std::filesystem::temp_directory_path() / "wire_bench_XXXXXX";
  const std::filesystem::path folder = mkdtemp(pattern.data());
  WriteModel(folder / "models", "identity");
  const std::string hello_address = "unix:" + (folder / "hello.sock").string();
  const std::string address = "unix:" + (folder / "modelserver.sock").string();
  const Child hello_server({own.string(), "--serve-hello", hello_address});
  const Child modelserver({(own.parent_path() / "modelserver").string(), "--repository",
                           (folder / "models").string(), "--listen", address, "--log-level",
                           "error"});
  const auto greeter = Connect(hello_address);
  const auto channel = Connect(address);
  std::this_thread::sleep_for(std::chrono::milliseconds(500));

  constexpr std::size_t kTensor = 3 * 640 * 640;
  std::vector<Case> cases;
  for (const int threads : {1, 16}) {
    const std::string suffix = fmt::format(" x{}", threads);
    cases.push_back({"hello world" + suffix, threads, &hello_server, Hello(greeter)});
    cases.push_back(
        {"identity, empty" + suffix, threads, &modelserver, Plain(channel, "identity", 0)});
    cases.push_back(
        {"identity, 16 floats" + suffix, threads, &modelserver, Plain(channel, "identity", 16)});
  }
  cases.push_back({"4.9 MB plain x1", 1, &modelserver, Plain(channel, "identity", kTensor)});
  std::erase_if(
      cases, [&](const Case& test) { return test.name.find(options.only) == std::string::npos; });

  std::map<std::string, std::vector<Measured>> rounds;
  for (int round = 0; round <= options.rounds; ++round) {
    for (const Case& test : cases) {
      const Measured measured = Run(test, options.seconds);
      if (round > 0) rounds[test.name].push_back(measured);  // the first warms up
    }
  }
  fmt::print("{:28}{:>10}{:>10}{:>10}{:>12}{:>12}\n", "", "calls/s", "p50 us", "p99 us",
             "client us", "server us");
  for (const Case& test : cases) {
    const Measured median = Median(rounds[test.name]);
    fmt::print("{:28}{:>10.0f}{:>10.0f}{:>10.0f}{:>12.0f}{:>12.0f}\n", test.name,
               median.calls_per_s, median.p50_us, median.p99_us, median.client_us,
               median.server_us);
  }
  std::filesystem::remove_all(folder);
  return EXIT_SUCCESS;
}

}  // namespace
}  // namespace inferpool::bench

int main(int argc, char** argv) {
  std::string hello;
  inferpool::bench::Options options;
  CLI::App app("What calls to the model server cost");
  app.add_option("--seconds", options.seconds, "of each round")->capture_default_str();
  app.add_option("--rounds", options.rounds, "of each case")->capture_default_str();
  app.add_option("--only", options.only, "cases whose name contains this");
  app.add_option("--serve-hello", hello, "address; used by the benchmark itself")->group("");
  CLI11_PARSE(app, argc, argv);
  if (!hello.empty()) return inferpool::bench::ServeHello(hello);
  return inferpool::bench::Measure(std::filesystem::read_symlink("/proc/self/exe"), options);
}
