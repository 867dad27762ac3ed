#include "worker/streams/frame_work.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <iterator>
#include <utility>
#include <variant>

#include "fcgi/wire/request.h"
#include "shared/base/json_text.h"
#include "shared/pictures/decode.h"
#include "worker/http/parameters.h"
#include "worker/http/problem.h"
#include "worker/predict/answer.h"
#include "worker/predict/picture.h"
#include "worker/predict/picture_cost.h"
#include "worker/predict/picture_inference.h"
#include "worker/streams/snapshot.h"

namespace inferpool::streams {
namespace {

// All cameras are one client of the heavy work, so that HTTP finds its seats.
constexpr std::string_view kClient = "cameras";

// What another try may change.
bool IsTransient(const http::Problem& problem) {
  constexpr int kTransient[] = {429, 499, 502, 503, 504};
  return std::ranges::find(kTransient, problem.status) != std::end(kTransient);
}

class Work {
 public:
  Work(const Frame& frame, const http::Services& services, ThreadSlot& thread_slot)
      : frame_(frame),
        services_(services),
        heavy_(services.heavy, thread_slot, HeavyClientOfKey(kClient)),
        request_{.method = "POST",
                 .path = {},
                 .query = frame.parameters,
                 .content_type = {},
                 .client = std::string(kClient),
                 .headers = {},
                 .body_status = absl::OkStatus(),
                 .body = frame.picture,
                 .accepted = Clock::now(),
                 .departed = {},
                 .body_bytes = nullptr},
        exchange_{.request = request_,
                  .thread_slot = thread_slot,
                  .heavy = heavy_,
                  .id = std::string(RequestNameOf(frame).view()),
                  .problem_form = http::ProblemForm::kProblemJson,
                  .limits = {.deadline = Deadline(
                                 request_.accepted +
                                 std::chrono::seconds(services.config.timeouts.request_s))}} {}

  void Do(Outcome& outcome) {
    if (frame_.max_age_ms > 0 && NowMs() - frame_.captured_ms > frame_.max_age_ms) {
      outcome.what = Outcome::What::kStale;
      return;
    }
    if (frame_.picture.empty()) {
      Fail(outcome, http::BadRequest("the entry has no picture"));
      return;
    }
    if (!http::CanBeModelName(frame_.model)) {
      Fail(outcome, http::BackendProblem(absl::NotFoundError(""), frame_.model));
      return;
    }
    const auto parameters = http::ParseParameters(frame_.parameters, {}, services_.config.predict);
    if (const auto* problem = std::get_if<http::Problem>(&parameters)) {
      Fail(outcome, *problem);
      return;
    }
    const auto& wanted = std::get<http::PredictParameters>(parameters);
    if (frame_.gate != nullptr && NothingMoves() && !frame_.snapshot) {
      outcome.still = true;
      outcome.json = StillAnswer();
      return;
    }
    auto predicted = predict::InferPicture(exchange_, services_,
                                           {.model = {frame_.model},
                                            .picture = frame_.picture,
                                            .parameters = wanted,
                                            .keep_pixels = frame_.snapshot},
                                           exchange_.thread_slot.task, exchange_.times);
    if (const auto* problem = std::get_if<http::Problem>(&predicted)) {
      Fail(outcome, *problem);
      return;
    }
    if (frame_.gate != nullptr) frame_.gate->Looked(frame_.id, Clock::now());
    if (frame_.snapshot) AddSnapshot(std::get<predict::Prediction>(predicted), outcome);
    exchange_.SetTotalTime();
    outcome.json = predict::Complete(
        predict::Members(std::get<predict::Prediction>(predicted), wanted.normalized),
        exchange_.times, exchange_.id);
    outcome.json.pop_back();  // the newline
  }

 private:
  // Whether the frame shows what the one before it showed. What cannot be decoded is for the
  // model's way to say. A frame that is tried again was found worth a look.
  bool NothingMoves() {
    if (frame_.tries > 0) return false;
    const auto opened = predict::OpenPicture(exchange_, services_, frame_.picture, frame_.model,
                                             exchange_.thread_slot.task);
    const auto* const picture = std::get_if<predict::Picture>(&opened);
    if (picture == nullptr) return false;
    const auto step = predict::BeginStep(
        exchange_.heavy,
        predict::DecodeCost(picture->file, picture->header, MotionGate::kReduction),
        exchange_.patience());
    if (!step.ok()) return false;
    const http::StageTimer timer(exchange_.times, Stage::kDecode);
    const auto grey = vision::DecodeGrey(picture->file, picture->header, MotionGate::kReduction,
                                         exchange_.limits.deadline);
    if (!grey.ok()) return false;
    const std::string question = fmt::format("{}?{}", frame_.model, frame_.parameters);
    return !frame_.gate->MustLook(*grey, question, Clock::now());
  }

  std::string StillAnswer() {
    exchange_.SetTotalTime();
    std::string json = predict::Complete(
        fmt::format(R"("still":true,"since":{})", QuotedJson(frame_.gate->looked_at())),
        exchange_.times, exchange_.id);
    json.pop_back();  // the newline
    return json;
  }

  // A frame without one is as good for programs.
  void AddSnapshot(const predict::Prediction& prediction, Outcome& outcome) const {
    absl::StatusOr<std::string> snapshot =
        MakeSnapshot({.file = frame_.picture,
                      .pixels = prediction.pixels.bgr,
                      .size = prediction.picture,
                      .result = prediction.result,
                      .class_names = prediction.model->description.class_names});
    if (snapshot.ok()) outcome.snapshot = *std::move(snapshot);
  }

  void Fail(Outcome& outcome, const http::Problem& problem) const {
    outcome.status = problem.status;
    outcome.json = fmt::format("{{{}}}", Members(problem, services_.config.nginx.base_path));
    if (problem.code == "quarantined") {
      outcome.what = Outcome::What::kDead;
      outcome.json = problem.detail;
    } else if (IsTransient(problem)) {
      outcome.what = Outcome::What::kRetry;
    }
  }

  const Frame& frame_;
  const http::Services& services_;
  HeavySteps heavy_;
  fcgi::Request request_;
  http::Exchange exchange_;
};

}  // namespace

std::int64_t NowMs() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

RequestName RequestNameOf(const Frame& frame) {
  return RequestName(fmt::format("{}@{}", frame.id, frame.camera));
}

Outcome WorkOn(Frame frame, const http::Services& services, ThreadSlot& thread_slot) {
  Outcome outcome;
  const TimePoint begun = Clock::now();
  thread_slot.Begin(begun);
  try {
    Work(frame, services, thread_slot).Do(outcome);
  } catch (const std::exception& error) {  // out of memory, for one
    outcome.what = Outcome::What::kRetry;
    outcome.status = 500;
    outcome.json = R"({"code":"internal","status":500})";
  }
  services.heavy.Leave(thread_slot);
  thread_slot.End();
  outcome.answered_ms = NowMs();
  outcome.worked_us =
      std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begun).count();
  outcome.bytes = frame.picture.size();
  if (outcome.what != Outcome::What::kRetry) frame.picture = std::string();
  outcome.frame = std::move(frame);
  return outcome;
}

}  // namespace inferpool::streams
