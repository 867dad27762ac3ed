#include "worker/api/batch.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <system_error>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "fcgi/part_owner.h"
#include "shared/json_text.h"
#include "worker/api/answer.h"
#include "worker/api/picture_input.h"
#include "worker/api/predict.h"

namespace inferpool::api {
namespace {

// More would wait for each other's share of the processor and of the model server.
constexpr int kMostHelpers = 7;

using Outcome = std::variant<std::monostate, Prediction, Problem>;

class Batch {
 public:
  Batch(const Exchange& exchange, const Services& services, const std::string& model,
        const PredictParameters& parameters, const PictureInputs& inputs)
      : exchange_(exchange),
        services_(services),
        model_(model),
        parameters_(parameters),
        inputs_(inputs),
        outcomes_(inputs.pictures.size()),
        timings_(inputs.pictures.size()) {}

  void Run() {
    const int pictures = static_cast<int>(inputs_.pictures.size());
    const int taken = services_.spare_threads.Take(std::min(pictures - 1, kMostHelpers));
    {
      std::vector<std::jthread> helpers;
      try {
        for (int i = 0; i < taken; ++i) helpers.emplace_back([this] { Help(); });
      } catch (const std::system_error&) {
        // The system has no thread left: those that there are do it.
      }
      Work(exchange_.lane.task);
      // Whatever happens while we wait for the helpers is no doing of our last picture.
      exchange_.lane.task.Store(
          {.request_id = RequestName(exchange_.id), .model = ModelName(model_), .digest = {}});
    }
    services_.spare_threads.GiveBack(taken);
  }

  const std::vector<Outcome>& outcomes() const { return outcomes_; }
  const std::vector<Timings>& timings() const { return timings_; }

 private:
  void Help() {
    Seqlock<Task> task;
    const fcgi::PartOwner owner(exchange_.lane, task);
    Work(task);
  }

  void Work(Seqlock<Task>& task) {
    while (true) {
      const std::size_t at = next_.fetch_add(1, std::memory_order_relaxed);
      if (at >= outcomes_.size()) return;
      outcomes_[at] = Answer(at, task);
    }
  }

  Outcome Answer(std::size_t at, Seqlock<Task>& task) {
    const PictureInput& input = inputs_.pictures[at];
    if (const auto* problem = std::get_if<Problem>(&input)) return *problem;
    try {
      auto answer = PredictPicture(exchange_, services_, model_, std::get<std::string_view>(input),
                                   parameters_, task, timings_[at]);
      if (auto* problem = std::get_if<Problem>(&answer)) return std::move(*problem);
      return std::get<Prediction>(std::move(answer));
    } catch (const std::exception&) {  // out of memory, for one
      return Internal("the worker could not finish this picture");
    }
  }

  const Exchange& exchange_;
  const Services& services_;
  const std::string& model_;
  const PredictParameters& parameters_;
  const PictureInputs& inputs_;
  std::atomic<std::size_t> next_ = 0;
  std::vector<Outcome> outcomes_;  // each written by one thread, read after all have ended
  std::vector<Timings> timings_;   // likewise
};

struct Writer {
  bool normalized;
  std::string& json;

  void operator()(std::monostate) const {}  // every picture has an outcome
  void operator()(const Prediction& prediction) const {
    fmt::format_to(std::back_inserter(json), "200,{}", Members(prediction, normalized));
  }
  void operator()(const Problem& problem) const {
    fmt::format_to(std::back_inserter(json), R"({},"problem":{{{}}})", problem.status,
                   Members(problem));
  }
};

}  // namespace

int SpareThreads::Take(int wanted) {
  int free = free_.load();
  int taken = 0;
  do {
    taken = std::clamp(free, 0, std::max(wanted, 0));
  } while (!free_.compare_exchange_weak(free, free - taken));
  return taken;
}

fcgi::Response PredictBatch(Exchange& exchange, const Services& services,
                            const std::string& model) {
  if (!CanBeModelName(model)) {
    return exchange.Fail(BackendProblem(absl::NotFoundError(""), model));
  }
  const auto parameters = ParseParameters(exchange.request.query, services.config.predict);
  if (const auto* problem = std::get_if<Problem>(&parameters)) return exchange.Fail(*problem);
  const auto& wanted = std::get<PredictParameters>(parameters);
  if (wanted.render.value_or(Output::kJson) != Output::kJson) {
    return exchange.Fail(BadParameter("render", "a batch is answered in JSON"));
  }
  const auto inputs = ReadPictures(exchange.request, services.config.limits.batch_images);
  if (const auto* problem = std::get_if<Problem>(&inputs)) return exchange.Fail(*problem);
  // What would be wrong with every picture is wrong with the request.
  const auto known = services.catalog.Get(model, exchange.limits.deadline);
  if (!known.ok()) return exchange.Fail(BackendProblem(known.status(), model));
  if (!(*known)->plan.ok()) return exchange.Fail(BackendProblem((*known)->plan.status(), model));

  Batch batch(exchange, services, model, wanted, std::get<PictureInputs>(inputs));
  batch.Run();
  if (exchange.limits.departed.stop_requested()) return exchange.Fail(ClientLeft());
  for (const Timings& part : batch.timings()) exchange.timings.Add(part);
  exchange.timings.Set(Stage::kTotal, std::chrono::duration_cast<Timings::Duration>(
                                          Clock::now() - exchange.request.accepted));
  std::string json = fmt::format(R"({{"model":{{"name":{}}},"results":[)", QuotedJson(model));
  for (std::size_t i = 0; i < batch.outcomes().size(); ++i) {
    fmt::format_to(std::back_inserter(json), R"({}{{"index":{},"status":)", i == 0 ? "" : ",", i);
    std::visit(Writer{wanted.normalized, json}, batch.outcomes()[i]);
    json += '}';
  }
  fmt::format_to(std::back_inserter(json), "],\"timing_ms\":{},\"request_id\":{}}}\n",
                 exchange.timings.Json(), QuotedJson(exchange.id));
  return Json(std::move(json));
}

}  // namespace inferpool::api
