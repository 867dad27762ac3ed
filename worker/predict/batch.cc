#include "worker/predict/batch.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <iterator>
#include <mutex>
#include <span>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "fcgi/serving/crash_scope.h"
#include "shared/base/json_text.h"
#include "worker/http/picture_input.h"
#include "worker/predict/answer.h"
#include "worker/predict/picture_cost.h"
#include "worker/predict/predict.h"

namespace inferpool::api {
namespace {

// More would wait for each other's share of the processor and of the model server.
constexpr int kMostHelpers = kMaxHelpers;

using Outcome = std::variant<std::monostate, Prediction, Problem>;

// Spare threads until the end of its life.
class Taken {
 public:
  Taken(SpareThreads& spare, int wanted) : spare_(spare), count_(spare.Take(wanted)) {}
  ~Taken() { spare_.GiveBack(count_); }
  Taken(const Taken&) = delete;
  Taken& operator=(const Taken&) = delete;

  int count() const { return count_; }

 private:
  SpareThreads& spare_;
  const int count_;
};

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
    const Taken taken(services_.spare_threads, std::min(pictures - 1, kMostHelpers));
    std::vector<std::jthread> threads;
    try {
      for (int i = 0; i < taken.count(); ++i) {
        threads.emplace_back(
            [this, &helper = helpers_[static_cast<std::size_t>(i)]] { Help(helper); });
      }
    } catch (const std::exception&) {
      // There is no thread left, or no memory for one: those that there are do it.
    }
    Work(exchange_.lane.task);
    Await(threads.size());
  }

  const std::vector<Outcome>& outcomes() const { return outcomes_; }
  const std::vector<Timings>& timings() const { return timings_; }

 private:
  struct Helper {
    Seqlock<Task> task;
    bool ended = false;  // guarded by mutex_
  };

  void Help(Helper& helper) {
    try {
      const fcgi::HelperCrashScope owner(exchange_.lane, helper.task);
      Work(helper.task);
    } catch (const std::exception&) {  // no memory to begin with: the others do it
    }
    const std::lock_guard lock(mutex_);
    helper.ended = true;
    ended_.notify_one();
  }

  // Until the first `count` helpers have ended. What keeps them is shown as what our lane is at, so
  // that a picture on which one is stuck is known.
  void Await(std::size_t count) {
    constexpr std::chrono::milliseconds kLookAgain{200};
    const auto helpers = std::span(helpers_).first(count);
    const auto at_work = [&] { return std::ranges::find(helpers, false, &Helper::ended); };
    std::unique_lock lock(mutex_);
    while (true) {
      const auto helper = at_work();
      if (helper == helpers.end()) return;
      exchange_.lane.task.Store(helper->task.Load().value_or(Task{}));
      ended_.wait_for(lock, kLookAgain, [&] { return at_work() == helpers.end(); });
    }
  }

  void Work(Seqlock<Task>& task) {
    while (true) {
      const std::size_t at = next_.fetch_add(1, std::memory_order_relaxed);
      if (at >= outcomes_.size()) return;
      try {
        outcomes_[at] = Answer(at, task);
      } catch (const std::exception&) {  // out of memory, for one
        outcomes_[at] = Problem(failed_);
      }
    }
  }

  Outcome Answer(std::size_t at, Seqlock<Task>& task) {
    const PictureInput& input = inputs_.pictures[at];
    if (const auto* problem = std::get_if<Problem>(&input)) return *problem;
    auto answer = PredictPicture(exchange_, services_, model_, std::get<std::string_view>(input),
                                 parameters_, /*keep_pixels=*/false, task, timings_[at]);
    if (auto* problem = std::get_if<Problem>(&answer)) return std::move(*problem);
    return std::get<Prediction>(std::move(answer));
  }

  const Exchange& exchange_;
  const Services& services_;
  const std::string& model_;
  const PredictParameters& parameters_;
  const PictureInputs& inputs_;
  std::atomic<std::size_t> next_ = 0;
  std::vector<Outcome> outcomes_;  // each written by one thread, read after all have ended
  std::vector<Timings> timings_;   // likewise
  const Problem failed_ = Internal("the worker could not finish this picture");

  std::array<Helper, kMostHelpers> helpers_;
  std::mutex mutex_;
  std::condition_variable ended_;
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
  auto reading = BeginStep(exchange.heavy, ReadingCost(exchange.request), exchange.patience());
  if (!reading.ok()) return exchange.Fail(HeavyProblem(reading.status()));
  const auto inputs = ReadPictures(exchange.request, services.config.limits.batch_images);
  *reading = HeavyStep();
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
