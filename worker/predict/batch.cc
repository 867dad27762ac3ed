#include "worker/predict/batch.h"

#include <fmt/format.h>

#include <cstddef>
#include <exception>
#include <iterator>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "shared/base/json_text.h"
#include "worker/http/picture_input.h"
#include "worker/predict/answer.h"
#include "worker/predict/picture_cost.h"
#include "worker/predict/picture_inference.h"
#include "worker/predict/shadow.h"
#include "worker/predict/side_by_side.h"
#include "worker/predict/wanted.h"

namespace inferpool::predict {
namespace {

using Outcome = std::variant<std::monostate, Prediction, http::Problem>;

class Batch {
 public:
  Batch(const http::Exchange& exchange, const http::Services& services,
        const backend::ModelVersion& model, const http::PredictParameters& parameters,
        const http::PictureInputs& inputs, std::shared_ptr<const backend::Model> known,
        const Answerer& answerer)
      : exchange_(exchange),
        services_(services),
        model_(model),
        known_(std::move(known)),
        answerer_(answerer),
        parameters_(parameters),
        inputs_(inputs),
        outcomes_(inputs.pictures.size()),
        times_(inputs.pictures.size()) {}

  void Run() {
    SideBySide(exchange_.thread_slot, services_.spare_threads, outcomes_.size(),
               [this](std::size_t at, Seqlock<Task>& task) {
                 try {
                   outcomes_[at] = Answer(at, task);
                 } catch (const std::exception&) {  // out of memory, for one
                   outcomes_[at] = http::Problem(failed_);
                 }
               });
  }

  const std::vector<Outcome>& outcomes() const { return outcomes_; }
  const std::vector<http::StageTimes>& times() const { return times_; }
  // For a picture that has no outcome.
  const http::Problem& failed() const { return failed_; }

 private:
  Outcome Answer(std::size_t at, Seqlock<Task>& task) {
    const http::PictureInput& input = inputs_.pictures[at];
    if (const auto* problem = std::get_if<http::Problem>(&input)) return *problem;
    const PictureQuestion question{.model = model_,
                                   .picture = std::get<std::string_view>(input),
                                   .parameters = parameters_,
                                   .known = known_};
    auto answer = answerer_ ? answerer_(exchange_, services_, question, task, times_[at])
                            : InferPicture(exchange_, services_, question, task, times_[at]);
    if (auto* problem = std::get_if<http::Problem>(&answer)) return std::move(*problem);
    return std::get<Prediction>(std::move(answer));
  }

  const http::Exchange& exchange_;
  const http::Services& services_;
  const backend::ModelVersion& model_;
  const std::shared_ptr<const backend::Model> known_;
  const Answerer& answerer_;
  const http::PredictParameters& parameters_;
  const http::PictureInputs& inputs_;
  std::vector<Outcome> outcomes_;        // each written by one thread, read after all have ended
  std::vector<http::StageTimes> times_;  // likewise
  const http::Problem failed_ = http::Internal("the worker could not finish this picture");
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

// `failed`: of a picture that has no outcome.
bool IsModelsFault(const Outcome& outcome, const http::Problem& failed) {
  constexpr int kServerError = 500;
  if (std::holds_alternative<Prediction>(outcome)) return false;
  const auto* problem = std::get_if<http::Problem>(&outcome);
  return (problem == nullptr ? failed : *problem).status >= kServerError;
}

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

fcgi::Response PredictBatch(http::Exchange& exchange, const http::Services& services,
                            const backend::ModelVersion& model, const Answerer& answerer) {
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
  std::shared_ptr<const backend::Model> known;
  if (!answerer) {
    const auto found = services.catalog.Get(model, exchange.limits.deadline);
    if (!found.ok()) {
      const http::Problem problem = http::BackendProblem(found.status(), Name(model));
      exchange.report.model_away = http::IsModelAway(problem);
      return exchange.Fail(problem);
    }
    known = *found;
    if (!known->plan.ok()) {
      return exchange.Fail(http::PlanProblem(known->plan.status(), Name(model)));
    }
    const auto options = OptionsFor(*known, wanted);
    if (const auto* problem = std::get_if<http::Problem>(&options)) return exchange.Fail(*problem);
  }

  Batch batch(exchange, services, model, wanted, pictures, std::move(known), answerer);
  batch.Run();
  if (exchange.limits.departed.stop_requested()) return exchange.Fail(http::ClientLeft());
  for (const http::StageTimes& part : batch.times()) exchange.times.Add(part);
  exchange.SetTotalTime();
  exchange.report.none_answered = true;
  std::vector<std::shared_ptr<const ShadowJob>> shadows;
  std::string json = fmt::format(R"({{"model":{{"name":{}}},"results":[)", QuotedJson(model.name));
  for (std::size_t i = 0; i < batch.outcomes().size(); ++i) {
    fmt::format_to(std::back_inserter(json), R"({}{{"index":{},"status":)", i == 0 ? "" : ",", i);
    std::visit(Writer{wanted.normalized, json, batch.failed(), exchange.base_path},
               batch.outcomes()[i]);
    json += '}';
    if (const auto* prediction = std::get_if<Prediction>(&batch.outcomes()[i])) {
      exchange.report.version = prediction->version;
      ++exchange.report.pictures;
      exchange.report.findings += CountOf(prediction->result);
      auto shadow =
          ShadowJobOf(exchange, services, std::get<std::string_view>(pictures.pictures[i]), i,
                      wanted, *prediction);
      if (shadow != nullptr) shadows.push_back(std::move(shadow));
    }
    exchange.report.none_answered &= IsModelsFault(batch.outcomes()[i], batch.failed());
  }
  fmt::format_to(std::back_inserter(json), "]{},\"timing_ms\":{},\"request_id\":{}}}\n",
                 http::RouteMember(exchange), exchange.times.Json(), QuotedJson(exchange.id));
  fcgi::Response response = http::Json(std::move(json));
  if (!shadows.empty()) {
    response.sent = [runner = services.shadows, jobs = std::move(shadows)] {
      for (const auto& job : jobs) runner->Offer(job);
    };
  }
  return response;
}

}  // namespace inferpool::predict
