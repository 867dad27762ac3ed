#include "worker/predict/batch.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <iterator>
#include <memory>
#include <span>
#include <string_view>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "fcgi/serving/crash_scope.h"
#include "shared/base/json_text.h"
#include "shared/base/mutex.h"
#include "worker/http/picture_input.h"
#include "worker/predict/answer.h"
#include "worker/predict/picture_cost.h"
#include "worker/predict/picture_inference.h"
#include "worker/predict/wanted.h"

namespace inferpool::predict {
namespace {

using Outcome = std::variant<std::monostate, Prediction, http::Problem>;

// Spare threads, taken for the lifetime of the object.
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
  Batch(const http::Exchange& exchange, const http::Services& services, const std::string& model,
        const http::PredictParameters& parameters, const http::PictureInputs& inputs,
        std::shared_ptr<const backend::Model> known)
      : exchange_(exchange),
        services_(services),
        model_(model),
        known_(std::move(known)),
        parameters_(parameters),
        inputs_(inputs),
        outcomes_(inputs.pictures.size()),
        times_(inputs.pictures.size()) {}

  void Run() {
    const int pictures = static_cast<int>(inputs_.pictures.size());
    const Taken taken(services_.spare_threads, std::min(pictures - 1, int{kMaxHelpers}));
    std::vector<std::jthread> threads;
    try {
      for (int i = 0; i < taken.count(); ++i) {
        threads.emplace_back([this, i] { Help(static_cast<std::size_t>(i)); });
      }
    } catch (const std::exception&) {
      // There is no thread left, or no memory for one: those that there are do it.
    }
    Work(exchange_.thread_slot.task);
    Await(threads.size());
  }

  const std::vector<Outcome>& outcomes() const { return outcomes_; }
  const std::vector<http::StageTimes>& times() const { return times_; }
  // For a picture that has no outcome.
  const http::Problem& failed() const { return failed_; }

 private:
  void Help(std::size_t helper) {
    try {
      const fcgi::HelperCrashScope scope(exchange_.thread_slot, tasks_[helper]);
      Work(tasks_[helper]);
    } catch (const std::exception&) {  // no memory to begin with: the others do it
    }
    const MutexLock lock(mutex_);
    ended_[helper] = true;
    one_ended_.notify_one();
  }

  // The first of the first `count` helpers that has not ended; `count` when all have.
  std::size_t FirstAtWork(std::size_t count) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const auto helpers = std::span(ended_).first(count);
    return static_cast<std::size_t>(std::ranges::find(helpers, false) - helpers.begin());
  }

  // Waits until the first `count` helpers have ended. Meanwhile our thread slot shows the task of
  // one that is at work, so that it is known on which picture a thread is stuck.
  void Await(std::size_t count) {
    constexpr std::chrono::milliseconds kLookAgain{200};
    MutexLock lock(mutex_);
    while (true) {
      const std::size_t helper = FirstAtWork(count);
      if (helper == count) return;
      exchange_.thread_slot.task.Store(tasks_[helper].Load().value_or(Task{}));
      one_ended_.wait_for(lock.native(), kLookAgain,
                          [this, count]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
                            return FirstAtWork(count) == count;
                          });
    }
  }

  void Work(Seqlock<Task>& task) {
    while (true) {
      const std::size_t at = next_.fetch_add(1, std::memory_order_relaxed);
      if (at >= outcomes_.size()) return;
      try {
        outcomes_[at] = Answer(at, task);
      } catch (const std::exception&) {  // out of memory, for one
        outcomes_[at] = http::Problem(failed_);
      }
    }
  }

  Outcome Answer(std::size_t at, Seqlock<Task>& task) {
    const http::PictureInput& input = inputs_.pictures[at];
    if (const auto* problem = std::get_if<http::Problem>(&input)) return *problem;
    auto answer = InferPicture(exchange_, services_,
                               {.model = {model_},
                                .picture = std::get<std::string_view>(input),
                                .parameters = parameters_,
                                .known = known_},
                               task, times_[at]);
    if (auto* problem = std::get_if<http::Problem>(&answer)) return std::move(*problem);
    return std::get<Prediction>(std::move(answer));
  }

  const http::Exchange& exchange_;
  const http::Services& services_;
  const std::string& model_;
  const std::shared_ptr<const backend::Model> known_;
  const http::PredictParameters& parameters_;
  const http::PictureInputs& inputs_;
  std::atomic<std::size_t> next_ = 0;
  std::vector<Outcome> outcomes_;        // each written by one thread, read after all have ended
  std::vector<http::StageTimes> times_;  // likewise
  const http::Problem failed_ = http::Internal("the worker could not finish this picture");

  // More helpers would wait for each other's share of the processor and of the model server.
  std::array<Seqlock<Task>, kMaxHelpers> tasks_;
  Mutex mutex_;
  std::array<bool, kMaxHelpers> ended_ ABSL_GUARDED_BY(mutex_) = {};
  std::condition_variable one_ended_;
};

struct Writer {
  bool normalized;
  std::string& json;
  const http::Problem& failed;
  std::string_view base_path;

  // There was no memory even to say so.
  void operator()(std::monostate) const { (*this)(failed); }
  void operator()(const Prediction& prediction) const {
    fmt::format_to(std::back_inserter(json), "200,{}", Members(prediction, normalized));
  }
  void operator()(const http::Problem& problem) const {
    fmt::format_to(std::back_inserter(json), R"({},"problem":{{{}}})", problem.status,
                   Members(problem, base_path));
  }
};

// As http::ParseParameters; nothing is drawn.
std::variant<http::PredictParameters, http::Problem> ReadParameters(
    std::string_view query, std::span<const http::FormField> fields,
    const Config::Predict& defaults) {
  auto parameters = http::ParseParameters(query, fields, defaults);
  const auto* wanted = std::get_if<http::PredictParameters>(&parameters);
  if (wanted != nullptr && wanted->render.value_or(http::Output::kJson) != http::Output::kJson) {
    return http::BadParameter("render", "a batch is answered in JSON");
  }
  return parameters;
}

}  // namespace

int SpareThreads::Take(int wanted) {
  int free = free_.load();
  int taken = 0;
  do {
    taken = std::clamp(free, 0, std::max(wanted, 0));
  } while (!free_.compare_exchange_weak(free, free - taken));
  return taken;
}

fcgi::Response PredictBatch(http::Exchange& exchange, const http::Services& services,
                            const std::string& model) {
  if (!http::CanBeModelName(model)) {
    return exchange.Fail(http::BackendProblem(absl::NotFoundError(""), model));
  }
  // Before the body is read, which may cost more.
  const auto in_query = ReadParameters(exchange.request.query, {}, services.config.predict);
  if (const auto* problem = std::get_if<http::Problem>(&in_query)) return exchange.Fail(*problem);
  auto reading = BeginStep(exchange.heavy, ReadingCost(exchange.request), exchange.patience());
  if (!reading.ok()) return exchange.Fail(http::HeavyProblem(reading.status()));
  const auto inputs = http::ReadPictures(exchange.request, services.config.limits.batch_images);
  *reading = HeavyStep();
  if (const auto* problem = std::get_if<http::Problem>(&inputs)) return exchange.Fail(*problem);
  const auto& pictures = std::get<http::PictureInputs>(inputs);
  const auto parameters =
      pictures.fields.empty()
          ? in_query
          : ReadParameters(exchange.request.query, pictures.fields, services.config.predict);
  if (const auto* problem = std::get_if<http::Problem>(&parameters)) return exchange.Fail(*problem);
  const auto& wanted = std::get<http::PredictParameters>(parameters);
  // What would be wrong with every picture is wrong with the request.
  const auto known = services.catalog.Get(model, exchange.limits.deadline);
  if (!known.ok()) return exchange.Fail(http::BackendProblem(known.status(), model));
  if (!(*known)->plan.ok()) {
    return exchange.Fail(http::PlanProblem((*known)->plan.status(), model));
  }
  const auto options = OptionsFor(**known, wanted);
  if (const auto* problem = std::get_if<http::Problem>(&options)) return exchange.Fail(*problem);

  Batch batch(exchange, services, model, wanted, pictures, *known);
  batch.Run();
  if (exchange.limits.departed.stop_requested()) return exchange.Fail(http::ClientLeft());
  for (const http::StageTimes& part : batch.times()) exchange.times.Add(part);
  exchange.SetTotalTime();
  std::string json = fmt::format(R"({{"model":{{"name":{}}},"results":[)", QuotedJson(model));
  for (std::size_t i = 0; i < batch.outcomes().size(); ++i) {
    fmt::format_to(std::back_inserter(json), R"({}{{"index":{},"status":)", i == 0 ? "" : ",", i);
    std::visit(Writer{wanted.normalized, json, batch.failed(), exchange.base_path},
               batch.outcomes()[i]);
    json += '}';
  }
  fmt::format_to(std::back_inserter(json), "],\"timing_ms\":{},\"request_id\":{}}}\n",
                 exchange.times.Json(), QuotedJson(exchange.id));
  return http::Json(std::move(json));
}

}  // namespace inferpool::predict
