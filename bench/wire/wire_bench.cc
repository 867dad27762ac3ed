// What a call to the model server costs: calls a second, latency, and the processor time of both
// ends, for the ways a tensor can travel, beside gRPC's own unary hello world.
//
// Starts what it needs (the modelserver beside it, with identity models in a temporary folder, and
// a hello server: itself again) on Unix sockets or loopback TCP, and runs the cases in turn,
// several rounds of each, so that what the machine does besides hits all alike. Prints the median
// round of each as a line, then the ratios of the rounds.

#include <fmt/format.h>
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "bench/wire/hello.grpc.pb.h"
#include "bench/wire/measure.h"
#include "proto/kserve.grpc.pb.h"
#include "proto/tensor.h"
#include "shared/base/process_tuning.h"
#include "worker/backend/inference_client.h"
#include "worker/backend/shm/sweep.h"
#include "worker/backend/tensor_message.h"

namespace inferpool::bench {
namespace {

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

void Check(bool good, const std::string& otherwise) {
  if (good) return;
  fmt::print(stderr, "a call failed: {}\n", otherwise);
  std::exit(EXIT_FAILURE);
}

void Check(const grpc::Status& status) {
  Check(status.ok(), status.error_message());
}

constexpr int kTensor = 3 * 640 * 640;
constexpr const char* kDomain = "wire_bench";

Deadline Soon() {
  return Deadline::After(std::chrono::seconds(30));
}

// The tensor of one call, made anew as a picture's is: by the worker where it goes from, by a usual
// client in an array of its own, from which it is copied into the message.
void MakeTensor(std::span<float> tensor) {
  std::ranges::fill(tensor, 0.5F);
}

std::span<float> Floats(std::span<std::byte> bytes) {
  return {reinterpret_cast<float*>(bytes.data()), bytes.size() / sizeof(float)};
}

// Looks at little, so that the check costs nothing.
bool SameEnds(std::span<const std::byte> bytes, const std::vector<float>& tensor) {
  return tensor.empty() ||
         (std::memcmp(bytes.data(), &tensor.front(), sizeof(float)) == 0 &&
          std::memcmp(bytes.last(sizeof(float)).data(), &tensor.back(), sizeof(float)) == 0);
}

// ModelInfer through the generated stub, the tensor in the message: what a usual client does.
MakeCall Plain(std::shared_ptr<grpc::Channel> channel, std::string model, std::size_t floats) {
  return [channel, model, floats] {
    auto stub = std::shared_ptr(inference::GRPCInferenceService::NewStub(channel));
    auto tensor = std::make_shared<std::vector<float>>(floats, 0.5F);
    return [stub, tensor, model] {
      MakeTensor(*tensor);
      inference::ModelInferRequest request;
      request.set_model_name(model);
      AddRawInput(request, "INPUT0", inference::TYPE_FP32,
                  std::vector<std::int64_t>{1, static_cast<std::int64_t>(tensor->size())})
          .assign(reinterpret_cast<const char*>(tensor->data()), tensor->size() * sizeof(float));
      inference::ModelInferResponse response;
      grpc::ClientContext context;
      Check(stub->ModelInfer(&context, request, &response));
      const std::string& output = response.raw_output_contents(0);
      Check(output.size() == tensor->size() * sizeof(float) &&
                SameEnds(std::as_bytes(std::span(output)), *tensor),
            "a wrong answer");
    };
  };
}

// As the worker makes it (worker/backend), with the tensor written where it goes from.
MakeCall Worker(std::shared_ptr<backend::InferenceClient> inference, const std::string& name,
                std::int64_t floats) {
  auto model = std::make_shared<backend::Model>();
  model->description = {.name = name,
                        .version = "1",
                        .max_batch_size = 16,
                        .inputs = {{"INPUT0", "FP32", {-1, floats}}},
                        .outputs = {{"OUTPUT0", "FP32", {-1, floats}}},
                        .class_names = {},
                        .parameters = {}};
  vision::ModelPlan plan;
  plan.input_name = "INPUT0";
  plan.has_batch_dimension = true;
  plan.outputs = {"OUTPUT0"};
  model->plan = plan;
  return [inference, model, floats] {
    auto tensor = std::make_shared<std::vector<float>>(floats, 0.5F);
    return [inference, model, tensor] {
      const auto size = static_cast<std::int64_t>(tensor->size());
      const std::size_t bytes = tensor->size() * sizeof(float);
      auto row = inference->Begin(model, {{size}}, bytes, {.deadline = Soon()});
      Check(row.status().ok(), row.status().ToString());
      MakeTensor(Floats(row->bytes()));
      const auto answer = row->Infer();
      Check(answer.ok(), answer.status().ToString());
      const TensorView& output = answer->answer->tensors().front();
      const auto own = backend::RowOf(output, answer->rows, answer->row);
      Check(own.ok() && own->size() == bytes && SameEnds(*own, *tensor), "a wrong answer");
    };
  };
}

// One way: the tensor goes there, a number comes back. With `client` as the worker's parts make it,
// without as a usual client does.
MakeCall OneWay(std::shared_ptr<grpc::Channel> channel,
                std::shared_ptr<const backend::Client> client, backend::Transport transport) {
  return [channel, client, transport] {
    auto stub = std::shared_ptr(inference::GRPCInferenceService::NewStub(channel));
    auto tensor = std::make_shared<std::vector<float>>(kTensor, 0.5F);
    std::shared_ptr<backend::Arena> arena;
    std::shared_ptr<backend::SharedRegions> regions;
    if (transport == backend::Transport::kShm) {
      arena = *backend::Arena::Create(kDomain, std::size_t{16} << 20);
      regions = std::make_shared<backend::SharedRegions>(
          transport, std::vector{backend::SharedRegions::Target{"modelserver", &client->calls(0)}});
      Check(regions->Prepare(0, arena, Soon(), std::chrono::steady_clock::now()).ok(), "no region");
    }
    return [client, stub, tensor, arena, regions] {
      const std::size_t bytes = tensor->size() * sizeof(float);
      const std::vector<std::int64_t> shape = {1, kTensor};
      inference::ModelInferRequest request;
      request.set_model_name("two");
      request.add_outputs()->set_name("OUTPUT1");
      if (client == nullptr) {
        MakeTensor(*tensor);
        AddRawInput(request, "INPUT0", inference::TYPE_FP32, shape)
            .assign(reinterpret_cast<const char*>(tensor->data()), bytes);
        AddRawInput(request, "INPUT1", inference::TYPE_FP32, std::vector<std::int64_t>{1, 1})
            .assign(sizeof(float), 0);
        inference::ModelInferResponse response;
        grpc::ClientContext context;
        Check(stub->ModelInfer(&context, request, &response));
        Check(response.raw_output_contents(0).size() == sizeof(float), "a wrong answer");
        return;
      }
      auto lease = std::make_shared<backend::Lease>(
          arena != nullptr ? arena->Allocate(bytes) : backend::Lease::OnHeap(bytes));
      MakeTensor(Floats(lease->bytes()));
      static const float number = 0;
      std::vector<backend::RawInput> raw;
      AddRawInput(request, "INPUT0", inference::TYPE_FP32, shape);
      AddRawInput(request, "INPUT1", inference::TYPE_FP32, std::vector<std::int64_t>{1, 1});
      request.clear_raw_input_contents();
      if (arena != nullptr) {
        backend::PutInSharedMemory(*lease, 0, bytes,
                                   *request.mutable_inputs(0)->mutable_parameters());
      } else {
        raw.push_back({lease->bytes(), lease});
      }
      raw.push_back({std::as_bytes(std::span(&number, 1)), nullptr});
      const auto message = backend::Encode(request, raw);
      Check(message.ok(), message.status().ToString());
      const auto answer = client->Infer(*message, {.deadline = Soon()});
      Check(answer.ok(), answer.status().ToString());
      Check(backend::Decode(*answer, {}).ok(), "a wrong answer");
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

// `more`: of config.pbtxt.
void WriteModel(const std::filesystem::path& repository, const std::string& name,
                const std::string& more) {
  std::filesystem::create_directories(repository / name);
  std::ofstream(repository / name / "config.pbtxt")
      << "backend: \"identity\" max_batch_size: 16\n"
         "input { name: \"INPUT0\" data_type: TYPE_FP32 dims: -1 }\n"
         "output { name: \"OUTPUT0\" data_type: TYPE_FP32 dims: -1 }\n"
      << more;
}

struct Options {
  double seconds = 1;
  int rounds = 5;
  std::string only;
  bool tcp = false;
};

// A model that takes as long for a batch as for one, as a GPU nearly does.
constexpr const char* kSlow =
    "parameters { key: \"execute_delay_ms\" value { string_value: \"5\" } }\n";

// What a call costs, and what a tensor does.
std::vector<Case> CallCases(const Child& hello, const Child& modelserver,
                            const std::string& hello_address, const std::string& address) {
  const auto greeter = Connect(hello_address);
  const auto channel = Connect(address);
  std::vector<Case> cases;
  for (const int threads : {1, 16}) {
    const auto add = [&](const char* name, const Child& server, MakeCall make) {
      cases.push_back({fmt::format("{} x{}", name, threads), threads, &server, std::move(make)});
    };
    add("hello world", hello, Hello(greeter));
    add("identity, empty", modelserver, Plain(channel, "identity", 0));
    add("identity, 16 floats", modelserver, Plain(channel, "identity", 16));
  }
  const auto client = std::make_shared<backend::Client>(std::vector{address}, 256);
  const auto worker = [&](backend::Transport transport) {
    // The client lives as long as what uses it.
    auto* inference =
        new backend::InferenceClient(*client, {.transport = transport, .domain = kDomain});
    return std::shared_ptr<backend::InferenceClient>(inference,
                                                     [client](auto* used) { delete used; });
  };
  using backend::Transport;
  cases.push_back(
      {"4.9 MB there, plain", 1, &modelserver, OneWay(channel, nullptr, Transport::kInline)});
  cases.push_back(
      {"4.9 MB there, inline", 1, &modelserver, OneWay(channel, client, Transport::kInline)});
  cases.push_back({"4.9 MB there, shm", 1, &modelserver, OneWay(channel, client, Transport::kShm)});
  cases.push_back({"4.9 MB and back, plain", 1, &modelserver, Plain(channel, "identity", kTensor)});
  cases.push_back({"4.9 MB and back, inline", 1, &modelserver,
                   Worker(worker(backend::Transport::kInline), "identity", kTensor)});
  cases.push_back({"4.9 MB and back, shm", 1, &modelserver,
                   Worker(worker(backend::Transport::kShm), "identity", kTensor)});
  return cases;
}

// A worker's threads on a model that gains from batches: joined by the worker, by the server, or by
// nobody.
std::vector<Case> BatchCases(const Child& modelserver, const std::string& address) {
  const auto client = std::make_shared<backend::Client>(std::vector{address}, 256);
  const auto worker = [&](int rows) {
    auto* inference = new backend::InferenceClient(
        *client,
        {.batch = {.max_rows = rows, .wait = std::chrono::milliseconds(10)}, .domain = kDomain});
    return std::shared_ptr<backend::InferenceClient>(inference,
                                                     [client](auto* used) { delete used; });
  };
  std::vector<Case> cases;
  for (const int threads : {1, 8, 64}) {
    const auto add = [&](const char* name, MakeCall make) {
      cases.push_back(
          {fmt::format("{} x{}", name, threads), threads, &modelserver, std::move(make)});
    };
    add("no batches", Worker(worker(1), "slow", 1024));
    add("worker's batches", Worker(worker(16), "slow", 1024));
    add("server's batches", Worker(worker(1), "slow_batching", 1024));
  }
  return cases;
}

using Rounds = std::map<std::string, std::vector<Measured>>;  // by case

struct Ratio {
  const char* what;
  const char* one;
  const char* other;
  double (*value)(const Measured&);
};

double CallsOf(const Measured& measured) {
  return measured.calls_per_s;
}

double ClientOf(const Measured& measured) {
  return measured.client_us;
}

double BothEndsOf(const Measured& measured) {
  return measured.client_us + measured.server_us;
}

constexpr Ratio kRatios[] = {
    {"calls/s, empty identity to hello world x1", "identity, empty x1", "hello world x1", CallsOf},
    {"calls/s, empty identity to hello world x16", "identity, empty x16", "hello world x16",
     CallsOf},
    {"client, plain to inline, there", "4.9 MB there, plain", "4.9 MB there, inline", ClientOf},
    {"client, plain to inline, and back", "4.9 MB and back, plain", "4.9 MB and back, inline",
     ClientOf},
    {"both ends, plain to shm, there", "4.9 MB there, plain", "4.9 MB there, shm", BothEndsOf},
    {"both ends, plain to shm, and back", "4.9 MB and back, plain", "4.9 MB and back, shm",
     BothEndsOf},
};

// Within a round the machine treats both alike, more or less.
void PrintRatios(const Rounds& rounds) {
  fmt::print("\n{:50}{:>8}{:>8}{:>8}\n", "ratios of the rounds", "lowest", "median", "highest");
  for (const Ratio& ratio : kRatios) {
    const auto one = rounds.find(ratio.one);
    const auto other = rounds.find(ratio.other);
    if (one == rounds.end() || other == rounds.end()) continue;
    std::vector<double> ratios;
    std::ranges::transform(one->second, other->second, std::back_inserter(ratios), std::divides<>(),
                           ratio.value, ratio.value);
    std::ranges::sort(ratios);
    fmt::print("{:50}{:>8.2f}{:>8.2f}{:>8.2f}\n", ratio.what, ratios.front(),
               ratios[ratios.size() / 2], ratios.back());
  }
}

int Measure(const std::filesystem::path& own, const Options& options) {
  TuneProcess();  // as the worker does
  std::string pattern = std::filesystem::temp_directory_path() / "wire_bench_XXXXXX";
  const std::filesystem::path folder = mkdtemp(pattern.data());
  WriteModel(folder / "models", "identity", "instance_group { count: 16 }\n");
  WriteModel(folder / "models", "two",
             "input { name: \"INPUT1\" data_type: TYPE_FP32 dims: -1 }\n"
             "output { name: \"OUTPUT1\" data_type: TYPE_FP32 dims: -1 }\n");
  WriteModel(folder / "models", "slow", kSlow);
  WriteModel(folder / "models", "slow_batching", std::string(kSlow) + "dynamic_batching {}\n");
  const auto address_of = [&](const char* server) {
    return options.tcp ? FreeTcpAddress() : fmt::format("unix:{}/{}.sock", folder.string(), server);
  };
  const std::string hello_address = address_of("hello");
  const std::string address = address_of("modelserver");
  // Before gRPC is used here, as it does not survive a fork.
  const Child hello({own.string(), "--serve-hello", hello_address});
  const Child modelserver({(own.parent_path() / "modelserver").string(), "--repository",
                           (folder / "models").string(), "--listen", address,
                           "--allow-client-shm=true", "--log-level", "error"});
  std::this_thread::sleep_for(std::chrono::seconds(1));  // the models load

  std::vector<Case> cases = CallCases(hello, modelserver, hello_address, address);
  std::ranges::move(BatchCases(modelserver, address), std::back_inserter(cases));
  std::erase_if(
      cases, [&](const Case& test) { return test.name.find(options.only) == std::string::npos; });
  Rounds rounds;
  for (int round = 0; round <= options.rounds; ++round) {
    fmt::print(stderr, "round {} of {}\n", round, options.rounds);
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
  PrintRatios(rounds);
  cases.clear();
  // The servers go with us, so that nobody has to be told.
  backend::SweepSegments(
      kDomain, [](const std::string&) { return absl::OkStatus(); }, Soon());
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
  app.add_flag("--tcp", options.tcp, "over TCP, as to another host; else over Unix sockets");
  app.add_option("--serve-hello", hello, "address; used by the benchmark itself")->group("");
  CLI11_PARSE(app, argc, argv);
  if (!hello.empty()) return inferpool::bench::ServeHello(hello);
  return inferpool::bench::Measure(std::filesystem::read_symlink("/proc/self/exe"), options);
}
